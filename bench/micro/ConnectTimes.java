// How long Kafka Connect's own classes take for a record, case by case. See __main__.py, which writes the cases.

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntConsumer;

import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.header.ConnectHeaders;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.sink.SinkRecord;
import org.apache.kafka.connect.storage.Converter;
import org.apache.kafka.connect.transforms.Transformation;

public class ConnectTimes {
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    private static final String TOPIC = "orders";

    // Written by every call, so that none is optimised away.
    private static volatile int seen;

    // arguments: file of cases, nanoseconds to warm up, nanoseconds to measure
    public static void main(String[] arguments) throws Exception {
        long warm = Long.parseLong(arguments[1]);
        long measured = Long.parseLong(arguments[2]);
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            String[] parts = line.split("\t", -1);
            List<byte[]> lines = new ArrayList<>();
            for (String one : Files.readAllLines(Path.of(parts[3]))) {
                lines.add(one.getBytes("UTF-8"));
            }
            boolean hasSchema = Boolean.parseBoolean(parts[2]);
            IntConsumer work = switch (parts[1]) {
                case "in" -> in(converter(parts[4]), lines);
                case "out" -> out(converter(parts[4]), values(converter(parts[4]), lines));
                default -> transform(parts, values(json(hasSchema), lines));
            };
            System.out.printf("%s\t%s%n", parts[0], nanosecondsEach(work, lines.size(), warm, measured));
        }
    }

    // The fastest batch, of this thread's processor time: compiling and collecting in other threads do not count.
    private static double nanosecondsEach(IntConsumer work, int count, long warm, long measured) {
        double best = Double.MAX_VALUE;
        long begin = System.nanoTime();
        for (long now = begin; now - begin < warm + measured || best == Double.MAX_VALUE; now = System.nanoTime()) {
            long before = THREADS.getCurrentThreadCpuTime();
            for (int index = 0; index < count; index++) {
                work.accept(index);
            }
            long taken = THREADS.getCurrentThreadCpuTime() - before;
            if (now - begin >= warm) {
                best = Math.min(best, (double) taken / count);
            }
        }
        return best;
    }

    private static IntConsumer in(Converter converter, List<byte[]> lines) {
        return index -> seen = System.identityHashCode(converter.toConnectData(TOPIC, lines.get(index)).value());
    }

    private static IntConsumer out(Converter converter, List<SchemaAndValue> values) {
        return index -> {
            SchemaAndValue one = values.get(index);
            seen = converter.fromConnectData(TOPIC, one.schema(), one.value()).length;
        };
    }

    private static IntConsumer transform(String[] parts, List<SchemaAndValue> values) throws Exception {
        List<Transformation<SinkRecord>> chain = new ArrayList<>();
        for (int index = 4; index < parts.length; index += 2) {
            chain.add(made(parts[index], settings(parts[index + 1])));
        }
        List<SinkRecord> records = new ArrayList<>();
        for (int index = 0; index < values.size(); index++) {
            SchemaAndValue one = values.get(index);
            ConnectHeaders headers = new ConnectHeaders();
            headers.addString("debug", "on");
            records.add(new SinkRecord(TOPIC, 0, null, null, one.schema(), one.value(), index, (long) index,
                TimestampType.CREATE_TIME, headers));
        }
        return index -> {
            SinkRecord record = records.get(index);
            for (Transformation<SinkRecord> step : chain) {
                record = step.apply(record);
                if (record == null) {
                    break;
                }
            }
            seen = System.identityHashCode(record);
        };
    }

    private static List<SchemaAndValue> values(Converter converter, List<byte[]> lines) {
        List<SchemaAndValue> values = new ArrayList<>();
        for (byte[] line : lines) {
            values.add(converter.toConnectData(TOPIC, line));
        }
        return values;
    }

    private static Converter json(boolean hasSchema) {
        JsonConverter made = new JsonConverter();
        made.configure(Map.of("schemas.enable", Boolean.toString(hasSchema)), false);
        return made;
    }

    private static Converter converter(String told) throws Exception {
        String[] parts = told.split(" ", 2);
        Converter made = (Converter) Class.forName(parts[0]).getDeclaredConstructor().newInstance();
        made.configure(settings(parts.length > 1 ? parts[1] : ""), false);
        return made;
    }

    @SuppressWarnings("unchecked")
    private static Transformation<SinkRecord> made(String name, Map<String, String> settings) throws Exception {
        Object made = Class.forName(name).getDeclaredConstructor().newInstance();
        Transformation<SinkRecord> step = (Transformation<SinkRecord>) made;
        step.configure(settings);
        return step;
    }

    private static Map<String, String> settings(String text) {
        Map<String, String> settings = new HashMap<>();
        for (String one : text.isEmpty() ? new String[0] : text.split("\\|")) {
            String[] pair = one.split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        return settings;
    }
}
