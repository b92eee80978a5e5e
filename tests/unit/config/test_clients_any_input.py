"""Whatever stands in a file, reading client settings answers or tells every problem, and never shows a secret."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.api.errors import ConfigError
from engine.config.clients import consumer_settings, producer_settings
from engine.config.clients_java import JAVA_NAMES
from engine.config.clients_table import ALIASES, NATIVE, OWNED
from engine.config.masking import is_secret
from engine.config.worker import WorkerConfig

WORKER = WorkerConfig(key_converter="K", value_converter="V", offset_storage_file_filename="offsets")
NAMES = sorted({*NATIVE, *ALIASES, *OWNED, *JAVA_NAMES})
SECRET = "kept-quiet"  # no value or reason holds it by chance

values = st.sampled_from(["", "0", "-1", "1", "5", "99999999999", "1.5", "true", "false", "all", "PEM", "none", "a=b;"])
any_settings = st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), values | st.text(max_size=8))


@settings(max_examples=300, deadline=None)
@given(worker=any_settings, connector=any_settings, secret_key=st.sampled_from(sorted(filter(is_secret, NAMES))))
def test_reading_never_fails_otherwise(worker: dict[str, str], connector: dict[str, str], secret_key: str) -> None:
    connector = {**connector, secret_key: SECRET}
    for client in ("producer", "consumer"):
        for_all = {f"{client}.{key}": value for key, value in worker.items()}
        own = {f"{client}.override.{key}": value for key, value in connector.items()}
        said = ""
        try:
            if client == "producer":
                answer = producer_settings(for_all, own, worker_config=WORKER, name="n", task=0)
            else:
                answer = consumer_settings(for_all, own, worker_config=WORKER, name="n", task=0, worker_id="w")
            said = "\n".join(answer.warnings)
            is_kept = SECRET in answer.secrets or SECRET not in map(str, answer.settings.values())
        except ConfigError as error:
            said = str(error)
            is_kept = all(problem.message for problem in error.problems)
        assert is_kept
        assert SECRET not in said
