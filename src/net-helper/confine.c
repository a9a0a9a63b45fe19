/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What lodge-net gives up before it reads its first frame:
 *
 *   root         when it has it: it becomes nobody, without groups (forwards are bound by then)
 *   files        Landlock: /etc and the real place of /etc/resolv.conf may be read, because
 *                libslirp reads the resolver's configuration again when it changes; all else, and
 *                all writing, is refused. Without Landlock seccomp still refuses writing.
 *   amounts      sockets, memory; no core, no processes, nothing written to files
 *   everything   seccomp: a list of system calls, sockets of the Internet families only, files
 *                read-only and looked at only when they are open, no programs, no other processes
 *
 * A kernel without one of these still gets the others; one without seccomp gets no network.
 *
 * A build with a sanitizer may do more: its run-time looks for leaks at the end, in a thread of its
 * own that stops this one by ptrace and reads /proc.
 */
#include "net-helper/helper.h"

#include "base/own_stat.h"
#include "base/rlimits.h"
#include "base/sanitize.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534

/* libslirp keeps 256 KiB for a TCP connection, which the guest may open at will: a guest that wants
 * all of these gets 1 GiB of the host's memory, and has as much again for all else. */
#define SOCKETS_MAX  4096
#define MEMORY_BYTES (2 * GIB)

static bool fail(GError **error, const char *doing, int number)
{
	g_set_error(error, HELPER_ERROR, number, "cannot %s: %s", doing, g_strerror(number));
	return false;
}

static bool drop_root(GError **error)
{
	if (geteuid() != 0)
		return true;
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY)) {
		/* a namespace without other users has no other users' files to protect either */
		if (errno == EINVAL || errno == EPERM)
			return true;
		return fail(error, "become nobody", errno);
	}
	return true;
}

/* --- Landlock --- */

#define READ_FILES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ALL_FILES  ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1) /* all of its first version */

static void allow_reading(int ruleset, const char *path)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = READ_FILES,
		.parent_fd = open(path, O_PATH | O_CLOEXEC),
	};

	if (rule.parent_fd < 0)
		return;
	syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	close(rule.parent_fd);
}

static void restrict_files(void)
{
	struct landlock_ruleset_attr handled = { .handled_access_fs = ALL_FILES };
	int ruleset = syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
	char *resolver, *directory;

	if (ruleset < 0)
		return; /* an older kernel */
	resolver = realpath("/etc/resolv.conf", NULL);
	directory = g_path_get_dirname(resolver ? resolver : "/etc/resolv.conf");
	allow_reading(ruleset, "/etc");
	allow_reading(ruleset, directory);
	if (SANITIZED)
		allow_reading(ruleset, "/proc");
	syscall(SYS_landlock_restrict_self, ruleset, 0);
	close(ruleset);
	g_free(directory);
	free(resolver);
}

/* --- amounts --- */

static bool limit_amounts(GError **error)
{
	static const struct rlimit_most limits[] = {
		{ RLIMIT_CORE, 0 },
		{ RLIMIT_NOFILE, SOCKETS_MAX },
		{ RLIMIT_FSIZE, 0 },
		{ RLIMIT_MEMLOCK, 0 },
		{ RLIMIT_NPROC, SANITIZED ? RLIM_INFINITY : 0 },
		{ RLIMIT_AS, SANITIZED ? RLIM_INFINITY : MEMORY_BYTES },
	};
	int err = rlimits_set(limits, ARRAY_LEN(limits));

	signal(SIGXFSZ, SIG_IGN); /* a warning that does not get into a file is no reason to end */
	return !err || fail(error, "set its limits", -err);
}

/* --- looking at files --- */

/* In place of the C library's, with which libslirp looks whether the resolver's configuration has
 * changed: of what Landlock lets it open, and of nothing else. */
int stat(const char *restrict path, struct stat *restrict st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), result;

	if (fd < 0)
		return -1;
	result = fstat(fd, st);
	close(fd);
	return result;
}

/* --- seccomp --- */

static const int allowed[] = {
	/* the guest's socket and the network's */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(connect),
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(shutdown),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(close),
	SCMP_SYS(fcntl),
	SCMP_SYS(ioctl),
	/* the resolver's configuration */
	SCMP_SYS(lseek),
	/* memory, time, the end */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(getrandom),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

#if SANITIZED
static const int allowed_to_sanitizers[] = {
	SCMP_SYS(clone),         SCMP_SYS(ptrace),      SCMP_SYS(wait4),       SCMP_SYS(prctl),
	SCMP_SYS(getppid),       SCMP_SYS(sched_yield), SCMP_SYS(sigaltstack), SCMP_SYS(readlink),
	SCMP_SYS(tgkill),        SCMP_SYS(getdents),    SCMP_SYS(arch_prctl),  SCMP_SYS(open),
	SCMP_SYS(rt_sigsuspend), SCMP_SYS(newfstatat),  SCMP_SYS(stat),
};

static int add_rules_for_sanitizers(scmp_filter_ctx filter)
{
	int result = 0;

	for (size_t i = 0; i < ARRAY_LEN(allowed_to_sanitizers) && !result; i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed_to_sanitizers[i], 0);
	return result;
}
#else
static int add_rules_for_sanitizers(scmp_filter_ctx filter)
{
	return 0;
}
#endif

static int add_rules(scmp_filter_ctx filter)
{
	static const int families[] = { AF_INET, AF_INET6 };
	int result = 0;

	for (size_t i = 0; i < ARRAY_LEN(allowed) && !result; i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (!result)
		result = own_stat_allow(filter);
	for (size_t i = 0; i < ARRAY_LEN(families) && !result; i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
					  SCMP_A0(SCMP_CMP_EQ, families[i]));
	if (!result) /* reading only */
		result = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
	if (!result) /* memory is never executable */
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
					  SCMP_A2(SCMP_CMP_MASKED_EQ, 4 /* PROT_EXEC */, 0));
	if (!result)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
					  SCMP_A2(SCMP_CMP_MASKED_EQ, 4 /* PROT_EXEC */, 0));
	return result;
}

static bool restrict_calls(GError **error)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int result = filter ? add_rules(filter) : -ENOMEM;

	if (!result)
		result = add_rules_for_sanitizers(filter);
	if (!result)
		result = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	return !result || fail(error, "enter seccomp", -result);
}

bool confine(GError **error)
{
	if (!drop_root(error))
		return false;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0))
		return fail(error, "give up new privileges", errno);
	restrict_files();
	return limit_amounts(error) && restrict_calls(error);
}
