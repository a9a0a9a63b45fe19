/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fstat() by its own system call, see own_stat.h. */
#include "base/own_stat.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In place of the C library's, for the program and its libraries. */
int fstat(int fd, struct stat *st)
{
	return syscall(SYS_fstat, fd, st);
}

int own_stat_allow(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fstat), 0);
}
