/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors that commands pass on to guests. */
#ifndef LODGE_CLI_FILES_H
#define LODGE_CLI_FILES_H

#include "cli/command.h"

#define FILES_OPTION                                                          \
	{                                                                     \
		"--pass-fds", VALUE_TEXT, "N,N,...",                          \
			"open files: the first is <source fdgroup='0'/>, ..." \
	}

struct lodge_domain;

struct passed_files {
	int fds[32];
	unsigned count;
};

/* Those of --pass-fds. False: it has been said what is wrong with them. */
bool files_read(const struct invocation *invocation, struct passed_files *files);
/* Those of each --fd-group, which stay as long as the connection. False: it has been said why
 * not if *@said is set, else the library has the error. */
bool files_associate_all(const struct invocation *invocation, struct lodge_domain *domain,
			 bool *said);

#endif
