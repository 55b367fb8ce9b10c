/* Attempts to get out of a sandbox, each in a process of its own.
 *
 *     attempt [NAME…]              the attempts named, or all of them
 *     attempt --control [NAME…]    the same where they are possible: as root, in namespaces that are thrown away
 *     attempt --caps               which capabilities this process has
 *     attempt --give PATH          sends a descriptor of it to the host's abstract socket RECEIVER
 *     attempt --segment KEY        makes a memory segment; --no-segment removes it
 *     docker-credential-attempt    ends with 43 if it can reach the program of the process that called it, else with 42
 *
 * Each prints one line, `@@ NAME escaped DETAIL` or `@@ NAME held DETAIL`. Nothing here harms a machine on which it
 * succeeds: what would is called with arguments that the kernel looks at after it has looked at the caller's rights.
 *
 * Environment: MARKER, a file of the host, and TOKEN, what it says; SENTINEL, the number of a process of the host, one of
 * whose arguments is TOKEN; SOCKET, the name of an abstract socket of the host; NAMESPACES, those of the host; SHM, the key
 * of a memory segment of the host; CAGE, an empty directory for the control of a chroot.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/if_alg.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/quota.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* Newer than some C libraries. */
#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#define SYS_fspick 433
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif

static int control;
static char detail[512];

/* What the default capability set is: the fourteen that builders agree on. */
static const unsigned long long DEFAULT_CAPABILITIES = 0xa80425fb;

static int say(int escaped, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(detail, sizeof detail, format, list);
    va_end(list);
    return escaped;
}

/* Whether a call got past what looks at the caller's rights. */
static int passed(long result) {
    if (result >= 0) return say(1, "done");
    int refused = errno == EPERM || errno == EACCES || errno == ENOSYS || errno == EROFS;
    return say(!refused, "%s", strerror(errno));
}

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static int opens(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return say(0, "%s: %s", path, strerror(errno));
    close(fd);
    return say(1, "%s", path);
}

/* Whether there is anything to read. */
static int shows(const char *path) {
    char bytes[16];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    long got = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    if (got < 0) return say(0, "%s: %s", path, strerror(errno));
    close(fd);
    return say(got > 0, "%s: %ld bytes", path, got);
}

static int says_token(const char *path) {
    char bytes[256] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return say(0, "%s: %s", path, strerror(errno));
    long got = read(fd, bytes, sizeof bytes - 1);
    close(fd);
    return say(got > 0 && *setting("TOKEN") && strstr(bytes, setting("TOKEN")), "%s", path);
}

/* ---- mounts ---- */

static int mount_tmpfs(void) { return passed(mount("none", "/tmp", "tmpfs", 0, NULL)); }
static int mount_proc(void) { return passed(mount("proc", "/tmp", "proc", 0, NULL)); }
static int mount_sysfs(void) { return passed(mount("sysfs", "/tmp", "sysfs", 0, NULL)); }
static int mount_cgroup(void) { return passed(mount("none", "/tmp", "cgroup2", 0, NULL)); }
static int mount_devpts(void) { return passed(mount("none", "/tmp", "devpts", 0, NULL)); }
static int mount_bind_over_proc(void) { return passed(mount("/", "/proc", NULL, MS_BIND | MS_REC, NULL)); }
static int mount_move(void) { return passed(mount("/dev", "/tmp", NULL, MS_MOVE, NULL)); }
static int mount_shared(void) { return passed(mount(NULL, "/", NULL, MS_SHARED | MS_REC, NULL)); }
static int remount_root(void) { return passed(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL)); }
static int remount_sys(void) { return passed(mount(NULL, "/sys", NULL, MS_REMOUNT | MS_BIND, NULL)); }
static int remount_proc_sys(void) { return passed(mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL)); }
static int umount_proc(void) { return passed(umount2("/proc", MNT_DETACH)); }
static int umount_mask(void) { return passed(umount2("/proc/keys", MNT_DETACH)); }
static int umount_read_only(void) { return passed(umount2("/proc/sys", MNT_DETACH)); }
static int fs_open(void) { return passed(syscall(SYS_fsopen, "tmpfs", 0)); }
static int fs_config(void) { return passed(syscall(SYS_fsconfig, -1, 6, NULL, NULL, 0)); }
static int fs_mount(void) { return passed(syscall(SYS_fsmount, -1, 0, 0)); }
static int fs_pick(void) { return passed(syscall(SYS_fspick, AT_FDCWD, "/proc", 0)); }
static int open_tree_clone(void) { return passed(syscall(SYS_open_tree, AT_FDCWD, "/", 1)); }
static int move_mount_root(void) { return passed(syscall(SYS_move_mount, AT_FDCWD, "/dev", AT_FDCWD, "/tmp", 0)); }

static int mount_set_attributes(void) {
    uint64_t attributes[4] = {0, 1, 0, 0}; /* clear read-only */
    return passed(syscall(SYS_mount_setattr, AT_FDCWD, "/sys", 0, attributes, sizeof attributes));
}

static int pivot(void) { return passed(syscall(SYS_pivot_root, ".", ".")); }

/* The way out of a chroot: a descriptor of a directory outside of the new root. */
static int chroot_by_descriptor(void) {
    if (control && (chroot(setting("CAGE")) || chdir("/"))) return say(0, "no cage: %s", strerror(errno));
    mkdir("kiln-inner", 0755);
    int outside = open(".", O_RDONLY | O_DIRECTORY);
    if (outside < 0 || chroot("kiln-inner") || fchdir(outside)) return say(0, "chroot: %s", strerror(errno));
    for (int i = 0; i < 64; i++)
        if (chdir("..")) break;
    if (chroot(".")) return say(0, "chroot: %s", strerror(errno));
    return says_token(setting("MARKER"));
}

#if defined(__x86_64__)
/* A call as a 32-bit program makes it; the strings must lie below 4 GiB. */
static long call32(long number, long a, long b, long c, long d, long e) {
    long result;
    __asm__ volatile("push %%rbx\n mov %2, %%rbx\n int $0x80\n pop %%rbx"
                     : "=a"(result)
                     : "a"(number), "r"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                     : "memory", "r8", "r9", "r10", "r11");
    if (result < 0) errno = -result;
    return result < 0 ? -1 : result;
}
static int mount32(void) { return passed(call32(21, 0, 0, 0, MS_MOVE, 0)); }
static int unshare32(void) { return passed(call32(310, CLONE_NEWNS, 0, 0, 0, 0)); }
static int bpf32(void) { return passed(call32(357, 0, 0, 0, 0, 0)); }
#endif

/* ---- the first process, its program and its descriptors ---- */

static int init_program(void) { return opens("/proc/1/exe", O_RDONLY); }
static int init_program_write(void) {
    int fd = open("/proc/1/exe", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 || errno == ETXTBSY) return say(1, "reached");
    return say(0, "%s", strerror(errno));
}
static int init_descriptors(void) { return opens("/proc/1/fd", O_RDONLY | O_DIRECTORY) && opens("/proc/1/fd/0", O_RDONLY | O_PATH); }
static int init_memory(void) { return opens("/proc/1/mem", O_RDWR); }
static int init_environment(void) { return opens("/proc/1/environ", O_RDONLY); }
static int init_maps(void) { return shows("/proc/1/maps"); }
static int init_auxv(void) { return shows("/proc/1/auxv"); }
static int init_root(void) { return opens("/proc/1/root", O_RDONLY | O_DIRECTORY); }
static int init_cwd(void) { return opens("/proc/1/cwd", O_RDONLY | O_DIRECTORY); }
static int init_stack(void) { return shows("/proc/1/stack"); }

static int init_trace(void) {
    long result = ptrace(PTRACE_SEIZE, 1, NULL, NULL);
    return passed(result);
}
static char there[8];
static int init_write(void) {
    struct iovec own = {there, 8}, other = {there, 8};
    long result = process_vm_writev(1, &own, 1, &other, 1, 0);
    return passed(result);
}
static int init_read(void) {
    struct iovec own = {there, 8}, other = {there, 8};
    long result = process_vm_readv(1, &own, 1, &other, 1, 0);
    return passed(result);
}
static int init_take_descriptor(void) {
    int pidfd = syscall(SYS_pidfd_open, 1, 0);
    if (pidfd < 0) return say(0, "pidfd_open: %s", strerror(errno));
    return passed(syscall(SYS_pidfd_getfd, pidfd, 0, 0));
}
static int init_compare(void) { return passed(syscall(SYS_kcmp, 1, getpid(), 0, 0, 0)); }
static int init_set_namespace(void) {
    int fd = open("/proc/1/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return say(0, "open: %s", strerror(errno));
    return passed(setns(fd, 0));
}
static int own_set_namespace(void) {
    int fd = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return say(0, "open: %s", strerror(errno));
    return passed(setns(fd, 0));
}

/* More than input and two outputs, or any of them a file or directory of the host. */
static int leaked_descriptors(void) {
    if (control && open("/", O_RDONLY | O_DIRECTORY) < 0) return say(0, "no control");
    for (int fd = 0; fd < 1024; fd++) {
        struct stat stat;
        if (fstat(fd, &stat)) continue;
        int harmless = S_ISFIFO(stat.st_mode) || (S_ISCHR(stat.st_mode) && major(stat.st_rdev) == 1);
        if (fd > 2 || !harmless) return say(1, "descriptor %d of mode %o", fd, stat.st_mode);
    }
    return say(0, "three");
}

/* ---- processes and namespaces of the host ---- */

static int kill_host(void) { return passed(kill(atoi(setting("SENTINEL")), 0)) && errno != ESRCH; }

static int see_host(void) {
    DIR *proc = opendir("/proc");
    if (!proc) return say(0, "no /proc");
    for (struct dirent *entry; (entry = readdir(proc));) {
        char path[300], line[4096];
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        long got = read(fd, line, sizeof line - 1);
        close(fd);
        if (got > 0 && memmem(line, got, setting("TOKEN"), strlen(setting("TOKEN")))) return say(1, "%s", path);
    }
    return say(0, "not listed");
}

static int roots_of_others(void) {
    for (int pid = 1; pid < 4096; pid++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "/proc/%d/root%s", pid, setting("MARKER"));
        if (says_token(path)) return 1;
        snprintf(path, sizeof path, "/proc/%d/cwd/../../../../../../../..%s", pid, setting("MARKER"));
        if (says_token(path)) return 1;
    }
    return say(0, "none leads to the marker");
}

static int marker(void) { return says_token(setting("MARKER")); }
static int marker_by_parents(void) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/../../../../../../../..%s", setting("MARKER"));
    return says_token(path);
}

static int shared_namespaces(void) {
    static const char *kinds[] = {"mnt", "pid", "ipc", "uts", "cgroup"};
    for (unsigned i = 0; i < 5; i++) {
        char path[64], name[64] = "";
        snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[i]);
        if (readlink(path, name, sizeof name - 1) <= 0) return say(1, "%s cannot be read", path);
        if (strstr(setting("NAMESPACES"), name)) return say(1, "%s", name);
    }
    return say(0, "all new");
}

static int unshare_user(void) { return passed(unshare(CLONE_NEWUSER)); }
static int unshare_mount(void) { return passed(unshare(CLONE_NEWNS)); }
static int unshare_network(void) { return passed(unshare(CLONE_NEWNET)); }
static int unshare_cgroup(void) { return passed(unshare(CLONE_NEWCGROUP)); }
static int clone_with(unsigned long flags) {
    long pid = syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) _exit(0);
    return passed(pid);
}
static int clone_user(void) { return clone_with(CLONE_NEWUSER); }
static int clone_mount(void) { return clone_with(CLONE_NEWNS); }
static int clone_process(void) { return clone_with(CLONE_NEWPID); }
static int clone3_user(void) {
    uint64_t arguments[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD, 0, 0, 0};
    long pid = syscall(SYS_clone3, arguments, sizeof arguments);
    if (pid == 0) _exit(0);
    return passed(pid);
}

static int shared_memory(void) {
    key_t key = atoi(setting("SHM"));
    if (control) return passed(shmget(key, 4096, IPC_CREAT | 0600)) && passed(shmget(key, 0, 0));
    return passed(shmget(key, 0, 0)) && errno != ENOENT;
}

static int abstract_socket(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = setting("SOCKET");
    memcpy(address.sun_path + 1, name, strlen(name));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = connect(fd, (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    return say(!failed, "%s", failed ? strerror(errno) : "connected");
}

/* ---- the kernel's files ---- */

/* Whether something takes what is written to it: many files can be opened for writing that have nothing to write to. */
static int takes(const char *path) {
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    long result = fd < 0 ? -1 : write(fd, "", 0);
    if (fd >= 0) close(fd);
    return result == 0 && say(1, "%s", path);
}

/* Whether anything below a directory can be written to; the numbered directories of /proc are processes. */
static int writable_below(const char *path, int depth) {
    DIR *dir = opendir(path);
    if (!dir) return 0;
    int found = 0;
    for (struct dirent *entry; !found && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        if (*name == '.' || entry->d_type == DT_LNK) continue;
        if (!strcmp(path, "/proc") && ((*name >= '0' && *name <= '9') || strstr(name, "self"))) continue;
        /* What is written there asks to be told of pressure, and nothing else. */
        if (!strcmp(path, "/proc") && !strcmp(name, "pressure")) continue;
        char next[PATH_MAX];
        snprintf(next, sizeof next, "%s/%s", path, name);
        struct stat stat;
        if (lstat(next, &stat)) continue;
        if (S_ISDIR(stat.st_mode)) found = depth > 0 && writable_below(next, depth - 1);
        /* A mask is the null device. */
        else if (S_ISREG(stat.st_mode)) found = takes(next);
    }
    closedir(dir);
    return found;
}
static int write_proc(void) { return writable_below("/proc", 8) || say(0, "nothing"); }
static int write_proc_sys(void) { return writable_below("/proc/sys", 8) || say(0, "nothing"); }
static int write_sys(void) { return writable_below("/sys", 12) || say(0, "nothing"); }
static int write_core_pattern(void) { return opens("/proc/sys/kernel/core_pattern", O_WRONLY); }
static int write_sysrq(void) { return opens("/proc/sysrq-trigger", O_WRONLY); }
static int write_drop_caches(void) { return opens("/proc/sys/vm/drop_caches", O_WRONLY); }
static int read_keys(void) {
    if (control) syscall(SYS_add_key, "user", "kiln-control", "x", 1, KEY_SPEC_SESSION_KEYRING);
    return shows("/proc/keys");
}
static int read_timers(void) { return shows("/proc/timer_list"); }
static int read_kmsg(void) { return opens("/proc/kmsg", O_RDONLY); }
static int read_log(void) { return passed(syscall(SYS_syslog, 3, there, sizeof there)); }
static int list_firmware(void) {
    DIR *dir = opendir("/sys/firmware");
    int entries = 0;
    while (dir && readdir(dir)) entries++;
    return say(entries > 2, "%d entries", entries);
}

static int writable_cgroup(void) {
    FILE *mounts = fopen("/proc/self/mounts", "re");
    char line[4096], place[1024], type[64], path[1100];
    while (mounts && fgets(line, sizeof line, mounts)) {
        if (sscanf(line, "%*s %1023s %63s", place, type) != 2 || strncmp(type, "cgroup", 6)) continue;
        snprintf(path, sizeof path, "%s/cgroup.procs", place);
        if (opens(path, O_WRONLY)) return 1;
        snprintf(path, sizeof path, "%s/release_agent", place);
        if (opens(path, O_WRONLY)) return 1;
    }
    return say(0, "no mount of a cgroup can be written to");
}
/* Whether a path leads to this mount, and not to one that hides it. */
static int leads_to(const char *path, int mount) {
    char name[64], line[256];
    int number = -1, fd = open(path, O_PATH | O_CLOEXEC);
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    FILE *info = fopen(name, "re");
    while (info && fgets(line, sizeof line, info)) sscanf(line, "mnt_id: %d", &number);
    if (info) fclose(info);
    if (fd >= 0) close(fd);
    return number == mount;
}

/* A mount of the host's: of an old hierarchy, or of a group above the sandbox's own. */
static int see_cgroups(void) {
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    char line[4096], root[1024], place[1024];
    int number;
    while (mounts && fgets(line, sizeof line, mounts)) {
        const char *type = strstr(line, " - cgroup");
        if (!type || sscanf(line, "%d %*s %*s %1023s %1023s", &number, root, place) != 3) continue;
        int own = !strncmp(type, " - cgroup2", 10) && strncmp(root, "/..", 3);
        if (!own && leads_to(place, number)) return say(1, "%s", place);
    }
    return say(0, "none but its own");
}

/* ---- devices ---- */

/* Where none can be made, a file is said to be one; only a file can be cut to a length. */
static int is_file(const char *path) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    int is = !ftruncate(fd, 1);
    close(fd);
    return is;
}

static int device(const char *name, mode_t kind, int first, int second) {
    static const char *places[] = {"/", "/tmp", "/dev", "/dev/shm", "/cache", "/memory"};
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/kiln-%s", places[i], name);
        if (mknod(path, kind | 0666, makedev(first, second))) {
            if (!*detail) say(0, "mknod %s: %s", path, strerror(errno));
            continue;
        }
        int escaped = opens(path, O_RDONLY) && !is_file(path);
        unlink(path);
        if (escaped) return 1;
    }
    return 0;
}
static int device_null(void) { return device("null", S_IFCHR, 1, 3); }
static int device_kmsg(void) { return device("kmsg", S_IFCHR, 1, 11); }
static int device_mem(void) { return device("mem", S_IFCHR, 1, 1); }
static int device_console(void) { return device("console", S_IFCHR, 5, 1); }
static int device_loop(void) { return device("loop", S_IFCHR, 10, 237); }
static int device_fuse(void) { return device("fuse", S_IFCHR, 10, 229); }
static int device_disk(void) {
    FILE *partitions = fopen("/proc/partitions", "re");
    char line[256];
    int first, second;
    while (partitions && fgets(line, sizeof line, partitions))
        if (sscanf(line, "%d %d", &first, &second) == 2 && device("disk", S_IFBLK, first, second)) return 1;
    return 0;
}
/* Anything in /dev but the harmless six and the terminals of this namespace. */
static int device_given(void) {
    DIR *dir = opendir("/dev");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat stat;
        char path[300];
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        if (lstat(path, &stat) || (!S_ISCHR(stat.st_mode) && !S_ISBLK(stat.st_mode))) continue;
        unsigned first = major(stat.st_rdev), second = minor(stat.st_rdev);
        int harmless = S_ISCHR(stat.st_mode) && ((first == 1 && (second == 3 || second == 5 || (second > 6 && second < 10)))
                       || (first == 5 && (second == 0 || second == 2)));
        if (!harmless) return say(1, "%s", path);
    }
    return say(0, "none but the usual");
}

static int terminal_input(unsigned long request, void *argument) {
    int leader = posix_openpt(O_RDWR | O_NOCTTY);
    if (leader < 0 || grantpt(leader) || unlockpt(leader)) return say(0, "no terminal: %s", strerror(errno));
    setsid();
    int terminal = open(ptsname(leader), O_RDWR);
    if (terminal < 0) return say(0, "no terminal: %s", strerror(errno));
    ioctl(terminal, TIOCSCTTY, 0);
    return passed(ioctl(terminal, request, argument));
}
static int terminal_push(void) { return terminal_input(TIOCSTI, "x"); }
static int terminal_paste(void) {
    char subcode = 3;
    return terminal_input(TIOCLINUX, &subcode);
}

/* ---- system calls that are nobody's business ---- */

static int key_session(void) { return passed(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0)); }
static int key_add(void) { return passed(syscall(SYS_add_key, "user", "kiln", "x", 1, KEY_SPEC_PROCESS_KEYRING)); }
static int key_request(void) { return passed(syscall(SYS_request_key, "user", "kiln-none", NULL, 0)); }
static int module_load(void) { return passed(syscall(SYS_init_module, NULL, 0, "")); }
static int module_load_file(void) { return passed(syscall(SYS_finit_module, -1, "", 0)); }
static int module_remove(void) { return passed(syscall(SYS_delete_module, "kiln_no_such_module", O_NONBLOCK)); }
static int bpf_map(void) {
    uint32_t map[32] = {2 /* array */, 4, 4, 1};
    return passed(syscall(SYS_bpf, 0, map, sizeof map));
}
static int perf_event(void) {
    uint32_t event[32] = {1 /* software */, 128};
    return passed(syscall(SYS_perf_event_open, event, 0, -1, -1, 0));
}
static int io_uring(void) {
    static uint32_t parameters[64];
    return passed(syscall(SYS_io_uring_setup, 1, parameters));
}
static int user_fault(void) { return passed(syscall(SYS_userfaultfd, O_CLOEXEC | 1)); }
static int fanotify(void) { return passed(syscall(SYS_fanotify_init, 0, O_RDONLY)); }
static int open_by_handle(void) {
    struct { struct file_handle head; char bytes[128]; } handle = {.head.handle_bytes = 128};
    int mount, root = open("/", O_RDONLY | O_DIRECTORY);
    if (name_to_handle_at(AT_FDCWD, control ? "/proc" : "/", &handle.head, &mount, 0) && errno != EOPNOTSUPP)
        return say(0, "name_to_handle_at: %s", strerror(errno));
    return passed(open_by_handle_at(root, &handle.head, O_RDONLY));
}
static int swap_on(void) { return passed(swapon("/kiln-no-such-file", 0)); }
static int swap_off(void) { return passed(swapoff("/kiln-no-such-file")); }
static int restart(void) { return passed(syscall(SYS_reboot, 0, 0, 0, NULL)); }
static int host_name(void) { return passed(sethostname("escaped", 7)); }
static int domain_name(void) { return passed(setdomainname("escaped", 7)); }
static int set_time(void) { return passed(syscall(SYS_settimeofday, NULL, NULL)); }
static int set_clock(void) {
    struct timespec never = {-1, -1};
    return passed(syscall(SYS_clock_settime, CLOCK_REALTIME, &never));
}
static int quota(void) { return passed(quotactl(QCMD(Q_QUOTAON, USRQUOTA), "/dev/null", 0, NULL)); }
static int accounting(void) { return passed(acct("/kiln-no-such-file")); }
static int virtual_hangup(void) {
    setsid(); /* There is no terminal to lose. */
    return passed(vhangup());
}
static int personality_exec(void) { return passed(syscall(SYS_personality, 0x0400000)); }
static int memory_policy(void) {
    /* A policy that does not exist. */
    return passed(syscall(SYS_set_mempolicy, 99, NULL, 0));
}
static int socket_alg(void) { return passed(socket(AF_ALG, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); }
static int socket_vsock(void) { return passed(socket(40, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
static int network_flags(void) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (ioctl(fd, SIOCGIFFLAGS, &request)) return say(0, "lo: %s", strerror(errno));
    return passed(ioctl(fd, SIOCSIFFLAGS, &request));
}
#if defined(__x86_64__)
static int input_output_ports(void) { return passed(syscall(SYS_ioperm, 0x80, 1, 1)); }
static int io_privilege(void) { return passed(syscall(SYS_iopl, 3)); }
#endif

/* ---- rights ---- */

static unsigned long long status_number(const char *key, int base) {
    char line[256];
    FILE *status = fopen("/proc/self/status", "re");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':') {
            fclose(status);
            return strtoull(line + strlen(key) + 1, NULL, base);
        }
    return ~0ULL;
}
static int more_capabilities(void) {
    static const char *sets[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
    for (unsigned i = 0; i < 5; i++) {
        unsigned long long more = status_number(sets[i], 16) & ~DEFAULT_CAPABILITIES;
        if (more) return say(1, "%s has %llx besides", sets[i], more);
    }
    return say(0, "none but the fourteen");
}
static int no_filter(void) {
    unsigned long long mode = status_number("Seccomp", 10);
    return say(mode != 2, "Seccomp: %llu", mode);
}
static int raise_capabilities(void) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct all[2] = {{0, 0, 0}};
    syscall(SYS_capget, &head, all);
    all[0].permitted |= 1 << CAP_SYS_ADMIN;
    all[0].effective |= 1 << CAP_SYS_ADMIN;
    return passed(syscall(SYS_capset, &head, all));
}
static int run_caps(const char *path) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execl(path, path, "--caps", NULL);
        _exit(errno == EPERM ? 0 : 3);
    }
    int status;
    waitpid(child, &status, 0);
    if (WEXITSTATUS(status) == 3) return say(0, "cannot execute %s", path);
    return say(WEXITSTATUS(status) != 0, "%s has more rights", path);
}
/* A file that grants CAP_SYS_ADMIN. */
static int file_capability(void) {
    const char *path = "/tmp/kiln-capable";
    char bytes[65536];
    int from = open("/proc/self/exe", O_RDONLY), to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    for (long got; (got = read(from, bytes, sizeof bytes)) > 0;)
        if (write(to, bytes, got) != got) return say(0, "copy: %s", strerror(errno));
    fchmod(to, 0755);
    close(to);
    close(from);
    uint32_t granted[5] = {0x02000001, 1 << CAP_SYS_ADMIN, 0, 0, 0};
    if (setxattr(path, "security.capability", granted, sizeof granted, 0)) return say(0, "setxattr: %s", strerror(errno));
    return run_caps(path);
}
static int set_user_id(void) { return run_caps(control ? "/proc/self/exe" : "/bin/attempt-setuid"); }

/* ---- the table ---- */

static const struct {
    const char *name;
    int (*run)(void);
} ATTEMPTS[] = {
    {"mount-tmpfs", mount_tmpfs}, {"mount-proc", mount_proc}, {"mount-sysfs", mount_sysfs}, {"mount-cgroup", mount_cgroup},
    {"mount-devpts", mount_devpts}, {"mount-bind-over-proc", mount_bind_over_proc}, {"mount-move", mount_move},
    {"mount-shared", mount_shared}, {"remount-root", remount_root}, {"remount-sys", remount_sys},
    {"remount-proc-sys", remount_proc_sys}, {"umount-proc", umount_proc}, {"umount-mask", umount_mask},
    {"umount-read-only", umount_read_only}, {"fsopen", fs_open}, {"fsconfig", fs_config}, {"fsmount", fs_mount},
    {"fspick", fs_pick}, {"open-tree", open_tree_clone}, {"move-mount", move_mount_root}, {"mount-setattr", mount_set_attributes},
    {"pivot-root", pivot}, {"chroot-descriptor", chroot_by_descriptor},
#if defined(__x86_64__)
    {"mount-32-bit", mount32}, {"unshare-32-bit", unshare32}, {"bpf-32-bit", bpf32},
    {"ioperm", input_output_ports}, {"iopl", io_privilege},
#endif
    {"init-program", init_program}, {"init-program-write", init_program_write}, {"init-descriptors", init_descriptors},
    {"init-memory", init_memory}, {"init-environment", init_environment}, {"init-maps", init_maps}, {"init-auxv", init_auxv},
    {"init-root", init_root}, {"init-cwd", init_cwd}, {"init-stack", init_stack}, {"init-trace", init_trace},
    {"init-write", init_write}, {"init-read", init_read}, {"init-take-descriptor", init_take_descriptor},
    {"init-compare", init_compare}, {"init-set-namespace", init_set_namespace}, {"own-set-namespace", own_set_namespace},
    {"leaked-descriptors", leaked_descriptors}, {"kill-host", kill_host}, {"see-host", see_host},
    {"roots-of-others", roots_of_others}, {"marker", marker}, {"marker-by-parents", marker_by_parents},
    {"shared-namespaces", shared_namespaces}, {"unshare-user", unshare_user}, {"unshare-mount", unshare_mount},
    {"unshare-network", unshare_network}, {"unshare-cgroup", unshare_cgroup}, {"clone-user", clone_user},
    {"clone-mount", clone_mount}, {"clone-process", clone_process}, {"clone3-user", clone3_user},
    {"shared-memory", shared_memory}, {"write-proc", write_proc}, {"write-proc-sys", write_proc_sys}, {"write-sys", write_sys},
    {"write-core-pattern", write_core_pattern}, {"write-sysrq", write_sysrq}, {"write-drop-caches", write_drop_caches},
    {"read-keys", read_keys}, {"read-timers", read_timers}, {"read-kmsg", read_kmsg}, {"read-log", read_log},
    {"list-firmware", list_firmware}, {"writable-cgroup", writable_cgroup}, {"see-cgroups", see_cgroups},
    {"device-null", device_null}, {"device-kmsg", device_kmsg}, {"device-mem", device_mem}, {"device-console", device_console},
    {"device-loop", device_loop}, {"device-fuse", device_fuse}, {"device-disk", device_disk}, {"device-given", device_given},
    {"terminal-push", terminal_push}, {"terminal-paste", terminal_paste}, {"key-session", key_session}, {"key-add", key_add},
    {"key-request", key_request}, {"module-load", module_load}, {"module-load-file", module_load_file},
    {"module-remove", module_remove}, {"bpf", bpf_map}, {"perf-event", perf_event}, {"io-uring", io_uring},
    {"userfaultfd", user_fault}, {"fanotify", fanotify}, {"open-by-handle", open_by_handle}, {"swapon", swap_on},
    {"swapoff", swap_off}, {"reboot", restart}, {"host-name", host_name}, {"domain-name", domain_name}, {"set-time", set_time},
    {"set-clock", set_clock}, {"quota", quota}, {"accounting", accounting}, {"hang-up", virtual_hangup},
    {"personality", personality_exec}, {"memory-policy", memory_policy}, {"socket-alg", socket_alg},
    {"socket-vsock", socket_vsock}, {"network-flags", network_flags}, {"more-capabilities", more_capabilities},
    {"no-filter", no_filter}, {"raise-capabilities", raise_capabilities}, {"file-capability", file_capability},
    {"set-user-id", set_user_id}, {"abstract-socket", abstract_socket},
};

/* Sends a descriptor of a file or directory to the host's socket RECEIVER, and waits until it has arrived. */
static int give(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = setting("RECEIVER");
    memcpy(address.sun_path + 1, name, strlen(name));
    int to = socket(AF_UNIX, SOCK_STREAM, 0);
    int given = path[1] ? open(path, O_RDWR | O_CREAT, 0644) : open(path, O_RDONLY | O_DIRECTORY);
    if (connect(to, (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))) return 2;
    char byte = 'x', space[CMSG_SPACE(sizeof given)];
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof given);
    memcpy(CMSG_DATA(head), &given, sizeof given);
    return sendmsg(to, &message, 0) != 1 || read(to, &byte, 1) != 1;
}

/* As a credential helper: whether the program of who called it is the file with the number PROGRAM, on a mount on which
   it could be written to once it no longer runs, or can be written to already. */
static int look_at_caller(void) {
    char path[64];
    struct stat stat;
    struct statvfs mount;
    struct mount_attr writable = {.attr_clr = MOUNT_ATTR_RDONLY};
    snprintf(path, sizeof path, "/proc/%d/exe", getppid());
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat)) return say(0, "%s: %s", path, strerror(errno));
    syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &writable, sizeof writable);
    if (fstatvfs(fd, &mount)) return say(0, "%s: %s", path, strerror(errno));
    if (stat.st_ino == strtoull(setting("PROGRAM"), NULL, 10) && !(mount.f_flag & ST_RDONLY))
        return say(1, "it is the installed program");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int written = open(path, O_WRONLY | O_CLOEXEC);
    return say(written >= 0 && write(written, "", 1) == 1, "%s", strerror(errno));
}

/* Makes a memory segment for others to find, or removes it. */
static int segment(const char *key, int wanted) {
    int found = shmget(atoi(key), 4096, wanted ? IPC_CREAT | 0666 : 0);
    return found < 0 || (!wanted && shmctl(found, IPC_RMID, NULL));
}

static int chosen(const char *name, char **names) {
    /* Refused only where the network is the sandbox's own: asked for by name. */
    if (!*names) return strcmp(name, "abstract-socket") != 0;
    for (; *names; names++)
        if (!strcmp(*names, name)) return 1;
    return 0;
}

int main(int count, char **words) {
    char **names = words + (count > 0);
    if (*names && !strcmp(*names, "--caps")) return more_capabilities();
    if (*names && !strcmp(*names, "--give")) return give(names[1]);
    if (*names && !strcmp(*names, "--segment")) return segment(names[1], 1);
    if (*names && !strcmp(*names, "--no-segment")) return segment(names[1], 0);
    if (*words && strstr(*words, "docker-credential-")) {
        /* Its caller shows no more of it than the number with which it ends. */
        return look_at_caller() ? 43 : 42;
    }
    if (*names && !strcmp(*names, "--control")) control = 1, names++;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (unsigned i = 0; i < sizeof ATTEMPTS / sizeof *ATTEMPTS; i++) {
        const char *name = ATTEMPTS[i].name;
        if (!chosen(name, names)) continue;
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            alarm(60);
            /* What one control does to its mounts is nothing to the next. */
            if (control && (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL))) _exit(1);
            errno = 0;
            int escaped = ATTEMPTS[i].run();
            printf("@@ %s %s %s\n", name, escaped ? "escaped" : "held", detail);
            fflush(stdout);
            _exit(0);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child) printf("@@ %s lost\n", name);
        else if (WIFSIGNALED(status)) printf("@@ %s died %d\n", name, WTERMSIG(status));
    }
    return 0;
}
