/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What this host offers to guests, for those who look before they start one. See launch.h. */
#include "launch/private.h"

#include <errno.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

bool host_has_kvm(char **why)
{
	int fd = kvm_open(why);

	if (fd < 0)
		return false;
	close(fd);
	*why = g_strdup("/dev/kvm works");
	return true;
}

bool host_has_program(const char *name, char **path_or_why)
{
	g_autoptr(GError) error = NULL;

	*path_or_why = spawn_find(name, &error);
	if (*path_or_why)
		return true;
	*path_or_why = g_strdup(error->message);
	return false;
}

int host_landlock_version(void)
{
	int version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return version < 0 ? 0 : version;
}

bool host_has_seccomp(void)
{
	u32 action = SECCOMP_RET_KILL_PROCESS;

	return !syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
}

/* In a child: the parent shall not move. */
bool host_has_user_namespaces(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(unshare(CLONE_NEWUSER) ? 1 : 0);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       !WEXITSTATUS(status);
}
