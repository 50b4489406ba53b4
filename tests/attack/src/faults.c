// Faults of the system, put into a process by LD_PRELOAD.
//
// Calls that change files whose path begins with FAULT_ROOT are counted. At the FAULT_AT-th of the kinds
// FAULT_KINDS (a list such as "write,rename"; all if unset) the process
//   FAULT_ACTION=kill                      is killed, FAULT_WHEN=before, half way through or after it;
//   FAULT_ACTION=ENOSPC|EDQUOT|EIO|EROFS   is told this error. Half way, a write first writes half.
//                                          FAULT_LASTS=on: from there on, wherever a real disk would;
//   FAULT_ACTION=hold                      waits after each of these calls until the file FAULT_GATE allows more
//                                          of them than were made, or is gone.
// FAULT_LOG names a file that gets a line for each call counted, FAULT_REPORT one for the fault itself.
// FAULT_CLOCK shifts the clock that tells the time of day, in seconds. FAULT_RAISE is a signal that the process
// gets before its main function.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum verdict { PASS, KILL_BEFORE, KILL_HALF, KILL_AFTER, FAIL, FAIL_HALF, HOLD };

static const char *root, *kinds, *log_file, *report_file, *when, *gate;
static int error_number, kills, holds, lasts, ready;
static long at, shift;
static atomic_long counted, fired;

__attribute__((constructor)) static void start(void) {
  root = getenv("FAULT_ROOT");
  kinds = getenv("FAULT_KINDS");
  log_file = getenv("FAULT_LOG");
  report_file = getenv("FAULT_REPORT");
  when = getenv("FAULT_WHEN");
  if (!when) when = "before";
  const char *action = getenv("FAULT_ACTION"), *number = getenv("FAULT_AT"), *clock = getenv("FAULT_CLOCK");
  const char *duration = getenv("FAULT_LASTS");
  const char *signal_number = getenv("FAULT_RAISE");
  if (signal_number) raise(atoi(signal_number));
  gate = getenv("FAULT_GATE");
  holds = action && gate && !strcmp(action, "hold");
  if (action) {
    kills = !strcmp(action, "kill");
    error_number = !strcmp(action, "ENOSPC")   ? ENOSPC
                   : !strcmp(action, "EDQUOT") ? EDQUOT
                   : !strcmp(action, "EROFS")  ? EROFS
                                               : EIO;
  }
  at = action && number ? atol(number) : 0;
  lasts = duration && !strcmp(duration, "on");
  shift = clock ? atol(clock) : 0;
  ready = root != NULL;
}

static void say(const char *file, const char *kind, const char *moment, long number, const char *path) {
  if (!file) return;
  char line[PATH_MAX + 96];
  int length = snprintf(line, sizeof line, "%ld %s %s %s\n", number, kind, moment, path);
  int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return;
  (void)!syscall(SYS_write, fd, line, (size_t)length);
  syscall(SYS_close, fd);
}

static int is_listed(const char *kind) {
  if (!kinds) return 1;
  size_t length = strlen(kind);
  for (const char *at = kinds; (at = strstr(at, kind)); at += length)
    if ((at == kinds || at[-1] == ',') && (at[length] == 0 || at[length] == ',')) return 1;
  return 0;
}

// What a disk without room refuses; a broken or read-only one refuses everything.
static int needs_room(const char *kind) {
  return strcmp(kind, "unlink") && strcmp(kind, "rename") && strcmp(kind, "sync") && strcmp(kind, "truncate");
}

static enum verdict judge(const char *kind, const char *path) {
  if (!ready || !path || strncmp(path, root, strlen(root))) return PASS;
  int no_room = error_number == ENOSPC || error_number == EDQUOT;
  if (!kills && lasts && atomic_load(&fired))
    return no_room && !needs_room(kind) ? PASS : FAIL;
  if (!is_listed(kind)) return PASS;
  if (!kills && no_room && !needs_room(kind)) return PASS;
  long number = atomic_fetch_add(&counted, 1) + 1;
  if (holds) return HOLD;
  say(log_file, kind, "at", number, path);
  if (at == 0 || number != at) return PASS;
  atomic_store(&fired, 1);
  say(report_file, kind, when, number, path);
  int half = !strcmp(when, "half");
  if (!kills) return half ? FAIL_HALF : FAIL;
  return half ? KILL_HALF : !strcmp(when, "after") ? KILL_AFTER : KILL_BEFORE;
}

static void die(void) {
  syscall(SYS_kill, getpid(), SIGKILL);
  for (;;) pause();
}

// How many calls are allowed; all if there is no gate any more.
static long allowed(void) {
  char text[32] = {0};
  int fd = (int)syscall(SYS_openat, AT_FDCWD, gate, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return LONG_MAX;
  (void)!syscall(SYS_read, fd, text, sizeof text - 1);
  syscall(SYS_close, fd);
  return atol(text);
}

// Whoever reads the report knows that the call was made and that nothing comes after it. One call at a time
// is held, as all that count come from the thread that trains.
static void hold(const char *kind, const char *path) {
  int kept = errno;
  long number = atomic_load(&counted);
  say(report_file, kind, "held", number, path);
  struct timespec nap = {0, 200000};
  while (allowed() < number) nanosleep(&nap, NULL);
  errno = kept;
}

static const char *path_of(int fd, char *into) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, into, PATH_MAX - 1);
  if (length < 0) return NULL;
  into[length] = 0;
  return into;
}

// An absolute path of what *at calls name.
static const char *path_at(int dir, const char *path, char *into) {
  if (!path) return NULL;
  if (path[0] == '/') return path;
  char folder[PATH_MAX];
  if (dir == AT_FDCWD) {
    if (!getcwd(folder, sizeof folder)) return NULL;
  } else if (!path_of(dir, folder)) {
    return NULL;
  }
  if ((size_t)snprintf(into, PATH_MAX, "%s/%s", folder, path) >= PATH_MAX) return NULL;
  return into;
}

#define NEXT(name) \
  static __typeof__(&name) next; \
  if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define JUDGED(kind, path, type, call) \
  do { \
    char path_buffer[PATH_MAX]; \
    (void)path_buffer; \
    const char *judged = ready ? (path) : NULL; \
    switch (judge(kind, judged)) { \
    case PASS: return call; \
    case KILL_BEFORE: case KILL_HALF: die(); return -1; \
    case KILL_AFTER: { type kept = call; (void)kept; die(); return kept; } \
    case HOLD: { type kept = call; hold(kind, judged); return kept; } \
    case FAIL: case FAIL_HALF: errno = error_number; return -1; \
    } \
    return -1; \
  } while (0)

#define OPENS(name) \
  int name(const char *path, int flags, ...) { \
    NEXT(name); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
    if (!(flags & O_CREAT)) return next(path, flags, mode); \
    JUDGED("open", path_at(AT_FDCWD, path, path_buffer), int, next(path, flags, mode)); \
  }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name) \
  int name(int dir, const char *path, int flags, ...) { \
    NEXT(name); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
    if (!(flags & O_CREAT)) return next(dir, path, flags, mode); \
    JUDGED("open", path_at(dir, path, path_buffer), int, next(dir, path, flags, mode)); \
  }
OPENS_AT(openat)
OPENS_AT(openat64)

int creat(const char *path, mode_t mode) { NEXT(creat); JUDGED("open", path_at(AT_FDCWD, path, path_buffer), int, next(path, mode)); }
int creat64(const char *path, mode_t mode) { NEXT(creat64); JUDGED("open", path_at(AT_FDCWD, path, path_buffer), int, next(path, mode)); }

// Half of a write is written; a disk that is full then has room for no more.
#define WRITES(name, arguments, whole, part) \
  ssize_t name arguments { \
    NEXT(name); \
    if (!ready) return whole; \
    char buffer[PATH_MAX]; \
    switch (judge("write", path_of(fd, buffer))) { \
    case PASS: return whole; \
    case KILL_BEFORE: die(); return -1; \
    case KILL_HALF: (void)!part; die(); return -1; \
    case KILL_AFTER: (void)!whole; die(); return -1; \
    case HOLD: { ssize_t kept = whole; hold("write", buffer); return kept; } \
    case FAIL_HALF: { ssize_t kept = size > 1 ? part : 0; if (kept > 0) return kept; errno = error_number; return -1; } \
    case FAIL: errno = error_number; return -1; \
    } \
    return -1; \
  }
WRITES(write, (int fd, const void *bytes, size_t size), next(fd, bytes, size), next(fd, bytes, size / 2))
WRITES(pwrite, (int fd, const void *bytes, size_t size, off_t to), next(fd, bytes, size, to), next(fd, bytes, size / 2, to))
WRITES(pwrite64, (int fd, const void *bytes, size_t size, off64_t to), next(fd, bytes, size, to), next(fd, bytes, size / 2, to))
WRITES(writev, (int fd, const struct iovec *parts, int size), next(fd, parts, size), next(fd, parts, size / 2))
WRITES(copy_file_range, (int from, off64_t *from_at, int fd, off64_t *to_at, size_t size, unsigned flags),
       next(from, from_at, fd, to_at, size, flags), next(from, from_at, fd, to_at, size / 2, flags))

int fsync(int fd) { NEXT(fsync); JUDGED("sync", path_of(fd, path_buffer), int, next(fd)); }
int fdatasync(int fd) { NEXT(fdatasync); JUDGED("sync", path_of(fd, path_buffer), int, next(fd)); }
int ftruncate(int fd, off_t size) { NEXT(ftruncate); JUDGED("truncate", path_of(fd, path_buffer), int, next(fd, size)); }
int ftruncate64(int fd, off64_t size) { NEXT(ftruncate64); JUDGED("truncate", path_of(fd, path_buffer), int, next(fd, size)); }
int rename(const char *from, const char *to) { NEXT(rename); JUDGED("rename", path_at(AT_FDCWD, to, path_buffer), int, next(from, to)); }
int renameat(int a, const char *from, int b, const char *to) { NEXT(renameat); JUDGED("rename", path_at(b, to, path_buffer), int, next(a, from, b, to)); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { NEXT(renameat2); JUDGED("rename", path_at(b, to, path_buffer), int, next(a, from, b, to, flags)); }
int unlink(const char *path) { NEXT(unlink); JUDGED("unlink", path_at(AT_FDCWD, path, path_buffer), int, next(path)); }
int unlinkat(int dir, const char *path, int flags) { NEXT(unlinkat); JUDGED("unlink", path_at(dir, path, path_buffer), int, next(dir, path, flags)); }
int rmdir(const char *path) { NEXT(rmdir); JUDGED("unlink", path_at(AT_FDCWD, path, path_buffer), int, next(path)); }
int mkdir(const char *path, mode_t mode) { NEXT(mkdir); JUDGED("mkdir", path_at(AT_FDCWD, path, path_buffer), int, next(path, mode)); }
int mkdirat(int dir, const char *path, mode_t mode) { NEXT(mkdirat); JUDGED("mkdir", path_at(dir, path, path_buffer), int, next(dir, path, mode)); }
int link(const char *from, const char *to) { NEXT(link); JUDGED("link", path_at(AT_FDCWD, to, path_buffer), int, next(from, to)); }
int linkat(int a, const char *from, int b, const char *to, int flags) { NEXT(linkat); JUDGED("link", path_at(b, to, path_buffer), int, next(a, from, b, to, flags)); }

static int tells_the_day(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

int clock_gettime(clockid_t clock, struct timespec *now) {
  NEXT(clock_gettime);
  int result = next(clock, now);
  if (result == 0 && tells_the_day(clock)) now->tv_sec += shift;
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  NEXT(gettimeofday);
  int result = next(now, zone);
  if (result == 0) now->tv_sec += shift;
  return result;
}

time_t time(time_t *into) {
  NEXT(time);
  time_t now = next(NULL) + shift;
  if (into) *into = now;
  return now;
}
