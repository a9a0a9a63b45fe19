/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a child gives up before it reads an image:
 *
 *   descriptors   all but the image and standard output
 *   root          when it has it: it becomes nobody, without groups
 *   files         Landlock, where there is any: no path at all
 *   amounts       memory, processor time; no new descriptors, processes or core
 *   everything    seccomp: reading, writing, memory, the end
 */
#include "img/img.h"

#include "base/rlimits.h"
#include "base/sanitize.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY       65534
#define MEMORY_BYTES (256 * MIB)
#define CPU_SECONDS  10

static bool fail(GError **error, const char *doing, int number)
{
	g_set_error(error, IMAGE_ERROR, 0, "cannot %s: %s", doing, g_strerror(number));
	return false;
}

/* @fd becomes number 0, whose own is of no use. */
static bool close_others(int fd, GError **error)
{
	int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (nothing < 0 || dup2(fd, STDIN_FILENO) < 0 || dup2(nothing, STDERR_FILENO) < 0)
		return fail(error, "arrange its descriptors", errno);
	if (close_range(STDERR_FILENO + 1, ~0u, 0))
		return fail(error, "close its descriptors", errno);
	return true;
}

static bool drop_root(GError **error)
{
	if (geteuid() != 0)
		return true;
	if (!setgroups(0, NULL) && !setresgid(NOBODY, NOBODY, NOBODY) &&
	    !setresuid(NOBODY, NOBODY, NOBODY))
		return true;
	/* a namespace without other users has no other users' files to protect either */
	return errno == EINVAL || errno == EPERM || fail(error, "become nobody", errno);
}

static void refuse_files(void)
{
	struct landlock_ruleset_attr all = {
		.handled_access_fs =
			(LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1, /* of its first version */
	};
	int ruleset = syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);

	if (ruleset < 0)
		return; /* an older kernel: seccomp refuses them, too */
	syscall(SYS_landlock_restrict_self, ruleset, 0);
	close(ruleset);
}

static bool limit_amounts(GError **error)
{
	static const struct rlimit_most limits[] = {
		{ RLIMIT_AS, SANITIZED ? RLIM_INFINITY : MEMORY_BYTES },
		{ RLIMIT_CPU, CPU_SECONDS },
		{ RLIMIT_FSIZE, 0 },
		{ RLIMIT_CORE, 0 },
		{ RLIMIT_NOFILE, 0 },
		{ RLIMIT_NPROC, 0 },
	};
	int err = rlimits_set(limits, ARRAY_LEN(limits));

	return !err || fail(error, "set its limits", -err);
}

static const int allowed[] = {
	SCMP_SYS(read),         SCMP_SYS(pread64),        SCMP_SYS(write),
	SCMP_SYS(lseek),        SCMP_SYS(fstat),          SCMP_SYS(brk),
	SCMP_SYS(munmap),       SCMP_SYS(mremap),         SCMP_SYS(madvise),
	SCMP_SYS(futex),        SCMP_SYS(getrandom),      SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday), SCMP_SYS(getpid),         SCMP_SYS(gettid),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction),
	SCMP_SYS(exit),         SCMP_SYS(exit_group),
};

static bool restrict_calls(GError **error)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int result = filter ? 0 : -ENOMEM;

	for (unsigned i = 0; i < ARRAY_LEN(allowed) && !result; i++)
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (!result) /* memory is never executable */
		result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
					  SCMP_A2(SCMP_CMP_MASKED_EQ, 4 /* PROT_EXEC */, 0));
	if (!result)
		result = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	return !result || fail(error, "enter seccomp", -result);
}

bool confine(int fd, GError **error)
{
	if (!close_others(fd, error) || !drop_root(error))
		return false;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0))
		return fail(error, "give up new privileges", errno);
	refuse_files();
	return limit_amounts(error) && restrict_calls(error);
}
