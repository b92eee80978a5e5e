/* A wall clock that is set while programs run: by so many seconds as stand in a file that all of them map.
 *
 *     LD_PRELOAD=wall_clock.so WALL_CLOCK_FILE=offset program
 *
 * What reads the wall clock sees it set. A wait up to a moment of it ends when that clock has come there, as the kernel
 * keeps it when the clock is set during the wait. The monotonic clock is left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SLICE_NS 20000000L
#define SECOND_NS 1000000000L

static const volatile int64_t *offset_s;

__attribute__((constructor)) static void map_offset(void) {
    const char *path = getenv("WALL_CLOCK_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof *offset_s, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        offset_s = mapped;
}

static int64_t set_by(void) { return offset_s ? *offset_s : 0; }

static int real_time(clockid_t clock, struct timespec *at) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next)
        next = dlsym(RTLD_NEXT, "clock_gettime");
    return next(clock, at);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int result = real_time(clock, at);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += set_by();
    return result;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *at, int base) {
    clock_gettime(CLOCK_REALTIME, at);
    return base;
}

/* The next moment of the real clock to look again; 0 when the set clock has come to `until`. */
static int next_look(const struct timespec *until, struct timespec *look) {
    struct timespec now;
    real_time(CLOCK_REALTIME, &now);
    int64_t left_s = (int64_t)until->tv_sec - set_by() - now.tv_sec;
    if (left_s < 0 || (left_s == 0 && until->tv_nsec <= now.tv_nsec))
        return 0;
    int64_t left_ns = left_s > 1 ? SECOND_NS : left_s * SECOND_NS + until->tv_nsec - now.tv_nsec;
    look->tv_sec = now.tv_sec;
    look->tv_nsec = now.tv_nsec + (left_ns < SLICE_NS ? left_ns : SLICE_NS);
    if (look->tv_nsec >= SECOND_NS) {
        look->tv_sec++;
        look->tv_nsec -= SECOND_NS;
    }
    return 1;
}

int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *until) {
    static int (*next)(cnd_t *, mtx_t *, const struct timespec *);
    struct timespec look;
    if (!next)
        next = dlsym(RTLD_NEXT, "cnd_timedwait");
    while (next_look(until, &look)) {
        int result = next(condition, mutex, &look);
        if (result != thrd_timedout)
            return result;
    }
    return thrd_timedout;
}
