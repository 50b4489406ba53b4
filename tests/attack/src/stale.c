// A network file system with stale attributes, put into a process by LD_PRELOAD: below STALE_ROOT, what a process has
// seen of a path or a folder it sees again for STALE_SECONDS, whatever others have done since. That is also so of what
// was not there. A change of its own in a folder brings the news of that folder, as an NFS client compares the folder's
// attributes from before and after. A file that is open is fresh: closing it has written it.
//
// STALE_LOG names a file that gets a line for each call that looks at something there.
//
// A machine of its own: STALE_MACHINE is a folder whose files boot_id and hostname are read in place of the system's.

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ENTRIES = 4096, FOLDERS = 512, LISTINGS = 64 };

// What was seen of a path.
struct entry {
  char *path;
  double since;
  int error, flags, file;  // file: that of the path when it was opened first, or -1
  struct statx seen;
};

// The names in a folder.
struct listing {
  char *path;
  double since;
  int count;
  struct dirent64 *names;
};

// A folder that is being read, from a listing that was made before.
struct reading {
  DIR *dir;
  struct listing *from;
  int next;
};

static const char *root, *machine, *log_file;
static double seconds;
static struct entry entries[ENTRIES];
static struct listing folders[FOLDERS];
static struct reading readings[LISTINGS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define NEXT(name) \
  static __typeof__(name) *next; \
  if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void start(void) {
  const char *text = getenv("STALE_SECONDS");
  root = getenv("STALE_ROOT");
  machine = getenv("STALE_MACHINE");
  log_file = getenv("STALE_LOG");
  seconds = text ? atof(text) : 0;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void note(const char *kind, const char *path) {
  if (!log_file) return;
  char line[PATH_MAX + 32];
  int length = snprintf(line, sizeof line, "0 %s at %s\n", kind, path);
  int file = (int)syscall(SYS_openat, AT_FDCWD, log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return;
  (void)!syscall(SYS_write, file, line, (size_t)length);
  syscall(SYS_close, file);
}

// The path of an argument, if it is one below the root.
static int is_ours(int folder, const char *path, char *whole) {
  if (!root || !path || !*path) return 0;
  if (*path == '/') {
    snprintf(whole, PATH_MAX, "%s", path);
  } else if (folder == AT_FDCWD) {
    char here[PATH_MAX / 2];
    if (!getcwd(here, sizeof here)) return 0;
    snprintf(whole, PATH_MAX, "%s/%s", here, path);
  } else {
    char link[64], base[PATH_MAX / 2];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length <= 0) return 0;
    base[length] = 0;
    snprintf(whole, PATH_MAX, "%s/%s", base, path);
  }
  size_t length = strlen(whole);
  while (length > 1 && (whole[length - 1] == '/' || !strcmp(whole + length - 2, "/."))) whole[--length] = 0;
  return !strncmp(whole, root, strlen(root));
}

static unsigned long hash(const char *path) {
  unsigned long sum = 5381;
  while (*path) sum = sum * 33 + (unsigned char)*path++;
  return sum;
}

static void forget(struct entry *entry) {
  if (entry->path && entry->file >= 0) close(entry->file);
  free(entry->path);
  entry->path = NULL;
}

// The place of a path, which one of another path may have.
static struct entry *place(const char *path, int flags) {
  return &entries[(hash(path) + (unsigned)flags) % ENTRIES];
}

static struct entry *known(const char *path, int flags) {
  struct entry *entry = place(path, flags);
  int is_known = entry->path && !strcmp(entry->path, path) && entry->flags == flags && now() - entry->since < seconds;
  return is_known ? entry : NULL;
}

static struct entry *learn(const char *path, int flags, int error) {
  struct entry *entry = place(path, flags);
  forget(entry);
  *entry = (struct entry){.path = strdup(path), .since = now(), .error = error, .flags = flags, .file = -1};
  return entry;
}

static struct listing *listing_of(const char *path) { return &folders[hash(path) % FOLDERS]; }

static void parent_of(const char *path, char *parent) {
  snprintf(parent, PATH_MAX, "%s", path);
  char *slash = strrchr(parent, '/');
  if (slash && slash != parent) *slash = 0;
}

static int is_in(const char *path, const char *folder) {
  size_t length = strlen(folder);
  return !strncmp(path, folder, length) && (path[length] == 0 || path[length] == '/');
}

// A change of this process's own at a path: the folder around it is seen anew, and all below the path.
static void changed(const char *path) {
  char parent[PATH_MAX], around[PATH_MAX];
  parent_of(path, parent);
  pthread_mutex_lock(&lock);
  for (int i = 0; i < ENTRIES; i++) {
    if (!entries[i].path) continue;
    parent_of(entries[i].path, around);
    if (!strcmp(around, parent) || !strcmp(entries[i].path, parent) || is_in(entries[i].path, path)) forget(&entries[i]);
  }
  for (int i = 0; i < FOLDERS; i++)
    if (folders[i].path && (!strcmp(folders[i].path, parent) || is_in(folders[i].path, path))) folders[i].since = -seconds;
  pthread_mutex_unlock(&lock);
}

int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict into) {
  NEXT(statx);
  char whole[PATH_MAX];
  if (!is_ours(folder, path, whole)) return next(folder, path, flags, mask, into);
  note("look", whole);
  int key = flags & AT_SYMLINK_NOFOLLOW;
  pthread_mutex_lock(&lock);
  struct entry *entry = known(whole, key);
  if (!entry) {
    struct statx seen = {0};
    int error = next(folder, path, flags, mask, &seen) ? errno : 0;
    entry = learn(whole, key, error);
    entry->seen = seen;
  }
  int error = entry->error;
  *into = entry->seen;
  pthread_mutex_unlock(&lock);
  errno = error;
  return error ? -1 : 0;
}

typedef int opener(int, const char *, int, mode_t);

// A file that this process had opened a moment ago is the one that it was then, and what was not there is not.
static int opened(opener *next, int folder, const char *path, int flags, mode_t mode) {
  char whole[PATH_MAX], own[PATH_MAX];
  const char *names[] = {"/proc/sys/kernel/random/boot_id", "boot_id", "/proc/sys/kernel/hostname", "hostname"};
  for (int i = 0; machine && i < 4; i += 2)
    if (!strcmp(path, names[i])) {
      snprintf(own, sizeof own, "%s/%s", machine, names[i + 1]);
      return next(AT_FDCWD, own, flags, mode);
    }
  if (!is_ours(folder, path, whole)) return next(folder, path, flags, mode);
  if ((flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_DIRECTORY | O_PATH)) {
    int is_new = flags & O_CREAT && faccessat(folder, path, F_OK, 0);
    int file = next(folder, path, flags, mode);
    if (file >= 0 && is_new) changed(whole);
    return file;
  }
  note("read", whole);
  int key = -1, file;
  pthread_mutex_lock(&lock);
  struct entry *entry = known(whole, key), *stat = known(whole, 0);
  if (entry && entry->file >= 0) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", entry->file);
    file = next(AT_FDCWD, link, flags, mode);
  } else if ((entry && entry->error) || (stat && stat->error)) {
    file = -1;
    errno = entry && entry->error ? entry->error : stat->error;
  } else {
    file = next(folder, path, flags, mode);
    int error = file < 0 ? errno : 0;
    entry = learn(whole, key, error);
    struct stat kind;
    if (file >= 0 && !fstat(file, &kind) && S_ISREG(kind.st_mode)) entry->file = fcntl(file, F_DUPFD_CLOEXEC, 200);
    errno = error;
  }
  pthread_mutex_unlock(&lock);
  return file;
}

#define OPENS(name, arguments, folder) \
  int name arguments { \
    NEXT(openat); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
      va_list rest; \
      va_start(rest, flags); \
      mode = va_arg(rest, mode_t); \
      va_end(rest); \
    } \
    return opened((opener *)next, folder, path, flags, mode); \
  }
OPENS(open, (const char *path, int flags, ...), AT_FDCWD)
OPENS(open64, (const char *path, int flags, ...), AT_FDCWD)
int openat64(int folder, const char *path, int flags, ...) {
  static opener *next;
  if (!next) next = (opener *)dlsym(RTLD_NEXT, "openat");
  mode_t mode = 0;
  if (flags & (O_CREAT | O_TMPFILE)) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  return opened(next, folder, path, flags, mode);
}

DIR *opendir(const char *path) {
  NEXT(opendir);
  char whole[PATH_MAX];
  if (!is_ours(AT_FDCWD, path, whole)) return next(path);
  note("list", whole);
  pthread_mutex_lock(&lock);
  struct listing *seen = listing_of(whole);
  int is_known = seen->path && !strcmp(seen->path, whole) && now() - seen->since < seconds;
  struct entry *stat = known(whole, 0);
  DIR *dir = NULL;
  if (!is_known && stat && stat->error) {
    errno = stat->error;
  } else if (!is_known && !(dir = next(path))) {
    int error = errno;
    learn(whole, 0, error);
    errno = error;
  } else {
    // A folder that is gone is read from what was seen of it; any handle does.
    if (!dir && !(dir = next(path))) dir = next("/");
    struct reading *reading = NULL;
    for (int i = 0; i < LISTINGS && !reading; i++)
      if (!readings[i].dir) reading = &readings[i];
    if (dir && reading) {
      if (!is_known) {
        NEXT(readdir64);
        struct dirent64 *name;
        free(seen->path);
        free(seen->names);
        *seen = (struct listing){.path = strdup(whole), .since = now()};
        while ((name = next(dir))) {
          seen->names = realloc(seen->names, (size_t)(seen->count + 1) * sizeof *name);
          memcpy(&seen->names[seen->count++], name, name->d_reclen);
        }
      }
      // A copy: another thread may learn anew meanwhile.
      struct listing *copy = malloc(sizeof *copy);
      *copy = *seen;
      copy->names = malloc((size_t)seen->count * sizeof *seen->names + 1);
      memcpy(copy->names, seen->names, (size_t)seen->count * sizeof *seen->names);
      *reading = (struct reading){.dir = dir, .from = copy};
    }
  }
  int error = errno;
  pthread_mutex_unlock(&lock);
  errno = error;
  return dir;
}

struct dirent64 *readdir64(DIR *dir) {
  NEXT(readdir64);
  struct dirent64 *name = NULL;
  int is_replayed = 0;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < LISTINGS; i++)
    if (readings[i].dir == dir) {
      is_replayed = 1;
      if (readings[i].next < readings[i].from->count) name = &readings[i].from->names[readings[i].next++];
    }
  pthread_mutex_unlock(&lock);
  return is_replayed ? name : next(dir);
}

int closedir(DIR *dir) {
  NEXT(closedir);
  pthread_mutex_lock(&lock);
  for (int i = 0; i < LISTINGS; i++)
    if (readings[i].dir == dir) {
      free(readings[i].from->names);
      free(readings[i].from);
      readings[i] = (struct reading){0};
    }
  pthread_mutex_unlock(&lock);
  return next(dir);
}

#define CHANGES(name, parameters, call, folder, path) \
  int name parameters { \
    NEXT(name); \
    char whole[PATH_MAX]; \
    int result = call, error = errno; \
    if (is_ours(folder, path, whole)) changed(whole); \
    errno = error; \
    return result; \
  }
CHANGES(mkdir, (const char *path, mode_t mode), next(path, mode), AT_FDCWD, path)
CHANGES(rmdir, (const char *path), next(path), AT_FDCWD, path)
CHANGES(unlink, (const char *path), next(path), AT_FDCWD, path)
CHANGES(unlinkat, (int folder, const char *path, int flags), next(folder, path, flags), folder, path)
CHANGES(link, (const char *from, const char *to), next(from, to), AT_FDCWD, to)
CHANGES(linkat, (int a, const char *from, int b, const char *to, int flags), next(a, from, b, to, flags), b, to)

int rename(const char *from, const char *to) {
  NEXT(rename);
  char whole[PATH_MAX];
  int result = next(from, to), error = errno;
  if (is_ours(AT_FDCWD, from, whole)) changed(whole);
  if (is_ours(AT_FDCWD, to, whole)) changed(whole);
  errno = error;
  return result;
}
