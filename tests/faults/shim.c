/* Preloaded into a process, this counts its file calls that concern what lies below one folder, and at one of them kills
   the process, or gives an error instead of doing it. Nothing is counted before faults_arm. Linux, 64 bit. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The order of KINDS and HOWS in shim.py. */
enum kind { OPEN, CREATE, READ, WRITE, SYNC, RENAME, UNLINK, TRUNCATE, MKDIR };
enum how { OFF, COUNT, KILL_BEFORE, KILL_AFTER, TEAR, FAIL_ONCE, FAIL_ON };
static const char *const names[] = {"open", "create", "read", "write", "sync", "rename", "unlink", "truncate", "mkdir"};

static char root[PATH_MAX], where[PATH_MAX];
static int how = OFF, wrong, kinds, log_to = -1;
static long at, count, happened;

void faults_arm(const char *folder, int how_, long at_, int wrong_, int kinds_, int log_) {
    strncpy(root, folder, sizeof root - 1);
    at = at_, wrong = wrong_, kinds = kinds_, log_to = log_, count = happened = 0, where[0] = 0;
    __atomic_store_n(&how, how_, __ATOMIC_SEQ_CST);
}
void faults_disarm(void) { __atomic_store_n(&how, OFF, __ATOMIC_SEQ_CST); }
long faults_count(void) { return count; }
long faults_happened(void) { return happened; }
const char *faults_where(void) { return where; } /* path of the first call that an error was given for */

static void die(void) {
    for (;;) syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

/* The path that a call is about: as given, or below a folder's descriptor, or that of a descriptor. */
static int is_below(int fd, const char *path, char *whole) {
    char link[64];
    size_t length = strlen(root), used = 0;
    if (path == NULL || path[0] != '/') {
        snprintf(link, sizeof link, fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", fd);
        long got = syscall(SYS_readlinkat, AT_FDCWD, link, whole, PATH_MAX - 1);
        if (got < 0) return 0;
        whole[used = got] = 0;
    }
    if (path != NULL) snprintf(whole + used, PATH_MAX - used, "%s%s", used ? "/" : "", path);
    return strncmp(whole, root, length) == 0 && (whole[length] == '/' || whole[length] == 0);
}

/* What becomes of a call: 0 as usual, an error's number, or -1: to die with it. */
static int fault(int kind, int fd, const char *path) {
    char whole[PATH_MAX] = "";
    int mode = __atomic_load_n(&how, __ATOMIC_SEQ_CST), before = errno;
    if (mode == OFF || !is_below(fd, path, whole)) {
        errno = before;
        return 0;
    }
    errno = before;
    long number = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    if (log_to >= 0) dprintf(log_to, "%s %s\n", names[kind], whole);
    if (mode == COUNT || number < at || (mode != FAIL_ON && number != at)) return 0;
    if (mode == KILL_BEFORE || (mode == TEAR && kind != WRITE)) die();
    if (mode == KILL_AFTER || mode == TEAR) return -1;
    if (!(kinds & 1 << kind)) return 0;
    if (__atomic_fetch_add(&happened, 1, __ATOMIC_SEQ_CST) == 0) strncpy(where, whole, sizeof where - 1);
    return wrong;
}

#define CALL(type, kind, fd, path, call)                \
    int verdict = fault(kind, fd, path);                \
    if (verdict > 0) { errno = verdict; return -1; }    \
    type result = (call);                               \
    if (verdict < 0) die();                             \
    return result;

/* What a process has written when it dies in the middle. */
#define PART(count) (verdict < 0 && how == TEAR ? (count) / 2 : (count))

static int open_at(int fd, const char *path, int flags, mode_t mode) {
    int before = errno, makes = flags & (O_CREAT | __O_TMPFILE);
    if (how != OFF && flags & O_CREAT && syscall(SYS_faccessat, fd, path, F_OK) == 0) makes = 0;
    errno = before;
    CALL(int, makes ? CREATE : OPEN, fd, path, syscall(SYS_openat, fd, path, flags, mode))
}
static mode_t mode_of(int flags, va_list rest) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}
#define OPENING(name, before, fd)                                   \
    int name(before const char *path, int flags, ...) {             \
        va_list rest;                                               \
        va_start(rest, flags);                                      \
        mode_t mode = mode_of(flags, rest);                         \
        va_end(rest);                                               \
        return open_at(fd, path, flags, mode);                      \
    }
#define FOLDER int folder,
OPENING(open, , AT_FDCWD)
OPENING(open64, , AT_FDCWD)
OPENING(openat, FOLDER, folder)
OPENING(openat64, FOLDER, folder)

#define READING(name, args, call) ssize_t name args { CALL(ssize_t, READ, fd, NULL, call) }
#define WRITING(name, args, call) ssize_t name args { CALL(ssize_t, WRITE, fd, NULL, call) }
READING(read, (int fd, void *to, size_t n), syscall(SYS_read, fd, to, n))
READING(pread, (int fd, void *to, size_t n, off_t from), syscall(SYS_pread64, fd, to, n, from))
READING(pread64, (int fd, void *to, size_t n, off64_t from), syscall(SYS_pread64, fd, to, n, from))
READING(readv, (int fd, const struct iovec *to, int n), syscall(SYS_readv, fd, to, n))
WRITING(write, (int fd, const void *of, size_t n), syscall(SYS_write, fd, of, PART(n)))
WRITING(pwrite, (int fd, const void *of, size_t n, off_t to), syscall(SYS_pwrite64, fd, of, PART(n), to))
WRITING(pwrite64, (int fd, const void *of, size_t n, off64_t to), syscall(SYS_pwrite64, fd, of, PART(n), to))
WRITING(writev, (int fd, const struct iovec *of, int n), syscall(SYS_writev, fd, of, PART(n)))

#define ON_FD(name, kind, args, call) int name args { CALL(int, kind, fd, NULL, call) }
ON_FD(fsync, SYNC, (int fd), syscall(SYS_fsync, fd))
ON_FD(fdatasync, SYNC, (int fd), syscall(SYS_fdatasync, fd))
ON_FD(ftruncate, TRUNCATE, (int fd, off_t size), syscall(SYS_ftruncate, fd, size))
ON_FD(ftruncate64, TRUNCATE, (int fd, off64_t size), syscall(SYS_ftruncate, fd, size))

static int rename_at(int from, const char *old, int to, const char *new) {
    CALL(int, RENAME, to, new, syscall(SYS_renameat2, from, old, to, new, 0))
}
int rename(const char *old, const char *new) { return rename_at(AT_FDCWD, old, AT_FDCWD, new); }
int renameat(int from, const char *old, int to, const char *new) { return rename_at(from, old, to, new); }

static int unlink_at(int fd, const char *path, int flags) {
    CALL(int, UNLINK, fd, path, syscall(SYS_unlinkat, fd, path, flags))
}
int unlink(const char *path) { return unlink_at(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlink_at(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int fd, const char *path, int flags) { return unlink_at(fd, path, flags); }

static int mkdir_at(int fd, const char *path, mode_t mode) {
    CALL(int, MKDIR, fd, path, syscall(SYS_mkdirat, fd, path, mode))
}
int mkdir(const char *path, mode_t mode) { return mkdir_at(AT_FDCWD, path, mode); }
int mkdirat(int fd, const char *path, mode_t mode) { return mkdir_at(fd, path, mode); }
