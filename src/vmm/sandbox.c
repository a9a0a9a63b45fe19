/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Confinement in two steps, see sandbox.h:
 *
 *   enter  root becomes nobody; no_new_privs; Landlock refuses every path; no core file
 *   seal   few new descriptors, no locked memory; seccomp for all threads: no new files, sockets,
 *          programs, threads or executable memory
 *
 * A refused system call fails with EPERM: a path of libc that is not on the list then reports an
 * error where killing would end a guest. io_uring makes calls that seccomp does not see;
 * block/raw.c restricts its rings to reads, writes and syncs on what is open.
 */
#include "vmm/sandbox.h"

#include "base/log.h"
#include "base/own_stat.h"
#include "base/rlimits.h"
#include "base/sanitize.h"
#include "base/types.h"
#include "vmm/monitor.h"
#include "vmm/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 65534

static int fail(GError **error, const char *doing, int number)
{
	g_set_error(error, PLAN_ERROR, number, "cannot %s: %s", doing, g_strerror(number));
	return -number;
}

/* Changing the user forgets the signal that the launcher asked to be sent at its own death. */
static int drop_root(GError **error)
{
	int death_signal = 0;
	pid_t launcher = getppid();

	if (geteuid() != 0)
		return 0;
	prctl(PR_GET_PDEATHSIG, &death_signal);
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY)) {
		if (errno != EINVAL && errno != EPERM)
			return fail(error, "become nobody", errno);
		log_info("vmm", "this namespace has no other user to become than root");
	}
	if (death_signal) {
		prctl(PR_SET_PDEATHSIG, death_signal);
		if (getppid() != launcher) /* it died in between */
			raise(death_signal);
	}
	return 0;
}

/* All rights of Landlock's first version, on nothing. */
static void refuse_paths(void)
{
	struct landlock_ruleset_attr handled = {
		.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
	};
	int ruleset = syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);

	if (ruleset < 0) {
		log_info("vmm", "the host has no Landlock (%s); seccomp alone keeps files away",
			 g_strerror(errno));
		return;
	}
	if (syscall(SYS_landlock_restrict_self, ruleset, 0))
		log_warning("vmm", "Landlock refuses: %s", g_strerror(errno));
	close(ruleset);
}

/* The guest's registers, keys and buffers are nobody's to find in a file later. */
static int refuse_core(GError **error)
{
	static const struct rlimit_most core = { RLIMIT_CORE, 0 };
	int err = rlimits_set(&core, 1);

	return err ? fail(error, "do without core files", -err) : 0;
}

int sandbox_enter(GError **error)
{
	int err = drop_root(error);

	if (!err)
		err = refuse_core(error);

	if (err)
		return err;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return fail(error, "give up new privileges", errno);
	tzset(); /* reads a file; the real-time clock may ask for local time later */
	if (!SANITIZED)
		refuse_paths();
	return 0;
}

static const int allowed[] = {
	/* consoles, sockets, disks */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(preadv2),
	SCMP_SYS(pwritev2),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(accept4),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(close),
	SCMP_SYS(lseek),
	SCMP_SYS(ftruncate), /* of a console's log that begins again */
	SCMP_SYS(sendfile),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(fallocate),
	SCMP_SYS(io_uring_enter),
	/* memory, except for what add_conditional() says */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(membarrier),
	SCMP_SYS(sysinfo), /* of swap, when a control group has a limit */
	/* threads and time */
	SCMP_SYS(futex),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getrandom),
	SCMP_SYS(restart_syscall),
	/* signals: the software CPU's faults, the signal thread, abort */
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

static int allow_ioctl(scmp_filter_ctx filter, unsigned long request)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				SCMP_A1(SCMP_CMP_EQ, request));
}

static int allow_prctl(scmp_filter_ctx filter, int option)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				SCMP_A0(SCMP_CMP_EQ, option));
}

/* Memory that is not executable; names of threads; discards on block devices; our own abort. */
static int add_conditional(scmp_filter_ctx filter)
{
	int err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				   SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				       SCMP_A0(SCMP_CMP_EQ, getpid()));
	if (!err)
		err = allow_prctl(filter, PR_SET_NAME);
	if (!err)
		err = allow_prctl(filter, PR_SET_TIMERSLACK);
	if (!err)
		err = allow_ioctl(filter, BLKDISCARD);
	return err ? err : allow_ioctl(filter, BLKZEROOUT);
}

/* --- amounts --- */

#define FILES_SPARE 8

static bool listens(int fd)
{
	int on = 0;
	socklen_t bytes = sizeof(on);

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &bytes) && on;
}

/* What a descriptor is below when there is room for what comes yet: the monitor's clients and one
 * more, who is turned away; who connects to each console's socket; and a few. */
static rlim_t files_most(void)
{
	unsigned wanted = MONITOR_CLIENTS_MAX + 1 + FILES_SPARE, found = 0;
	int fd;

	for (fd = 0; found < wanted; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			found++;
		else if (listens(fd))
			wanted++;
	}
	return fd;
}

/* No limit of what is not to be had at all any more (processes, priorities), of the size of files
 * and of memory: docs/threat-model.md says why. */
static int limit_amounts(GError **error)
{
	const struct rlimit_most limits[] = {
		{ RLIMIT_NOFILE, files_most() },
		{ RLIMIT_MEMLOCK, 0 }, /* rings have theirs by now */
	};
	int err = rlimits_set(limits, ARRAY_LEN(limits));

	return err ? fail(error, "set its limits", -err) : 0;
}

int sandbox_seal(GError **error)
{
	return sandbox_seal_for(NULL, error);
}

int sandbox_seal_for(const unsigned long *requests, GError **error)
{
	scmp_filter_ctx filter;
	int err = 0;

	if (SANITIZED) {
		log_info("vmm", "built with a sanitizer, which seccomp would break: not confined");
		return 0;
	}
	err = limit_amounts(error);
	if (err)
		return err;
	filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!filter)
		return fail(error, "make a seccomp filter", ENOMEM);
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: the list is long */
	/* Hosts before Linux 5.16 would slow down all code of a filtered thread against speculative
	 * store bypass, which is the guest's code here; docs/threat-model.md promises nothing
	 * there. */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
	for (unsigned i = 0; i < ARRAY_LEN(allowed) && !err; i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (!err)
		err = own_stat_allow(filter);
	if (!err)
		err = add_conditional(filter);
	for (; requests && *requests && !err; requests++)
		err = allow_ioctl(filter, *requests);
	if (!err)
		err = seccomp_load(filter);
	seccomp_release(filter);
	return err ? fail(error, "confine the program by seccomp, which the host must have", -err)
		   : 0;
}
