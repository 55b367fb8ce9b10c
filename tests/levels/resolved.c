/* Makes files as another user by calls that say how their paths are to be resolved, and ends with 1 unless each of them
 * is where the caller means it to be. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int make(int directory, const char *path, unsigned long long flags, unsigned long long resolve)
{
	struct open_how how = { .flags = O_WRONLY | flags, .mode = 0640, .resolve = resolve };
	return syscall(SYS_openat2, directory, path, &how, sizeof how);
}

static void must(int holds, const char *what)
{
	if (!holds) {
		perror(what);
		exit(1);
	}
}

static void as_another(void (*work)(void), const char *root)
{
	pid_t child = fork();
	if (child == 0) {
		must(chroot(root) == 0 && chdir("/") == 0, "chroot");
		must(setgid(44) == 0 && setuid(33) == 0, "setuid");
		work();
		exit(0);
	}
	int status = 1;
	must(waitpid(child, &status, 0) == child && status == 0, "as another user");
}

static void in_root(void)
{
	char link[64];
	must(make(AT_FDCWD, "/tmp/named", O_CREAT, RESOLVE_NO_SYMLINKS) >= 0, "named");
	must(make(AT_FDCWD, "/link/no", O_CREAT, RESOLVE_NO_SYMLINKS) < 0 && errno == ELOOP, "through a link");
	int nameless = make(AT_FDCWD, "/tmp", O_TMPFILE, RESOLVE_NO_SYMLINKS);
	snprintf(link, sizeof link, "/proc/self/fd/%d", nameless);
	must(linkat(AT_FDCWD, link, AT_FDCWD, "/tmp/nameless", AT_SYMLINK_FOLLOW) == 0, "nameless");
	int jail = open("/tmp/jail", O_PATH | O_DIRECTORY);
	must(make(jail, "beneath", O_CREAT, RESOLVE_BENEATH) >= 0, "beneath");
	must(make(jail, "../no", O_CREAT, RESOLVE_BENEATH) < 0 && errno == EXDEV, "above");
}

static void in_jail(void)
{
	must(make(AT_FDCWD, "/absolute", O_CREAT, RESOLVE_NO_SYMLINKS) >= 0, "absolute");
	must(make(AT_FDCWD, "relative", O_CREAT, RESOLVE_NO_SYMLINKS) >= 0, "relative");
}

int main(void)
{
	umask(0);
	must(mkdir("/tmp", 0777) == 0 && mkdir("/tmp/jail", 0777) == 0, "mkdir");
	must(symlink("tmp", "/link") == 0, "symlink");
	as_another(in_root, "/");
	as_another(in_jail, "/tmp/jail");
	must(unlink("/tmp/jail/absolute") == 0, "absolute");
	must(unlink("/tmp/jail/relative") == 0, "relative");
	return 0;
}
