/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What commands share that change devices of guests. */
#ifndef LODGE_CLI_PLUG_H
#define LODGE_CLI_PLUG_H

#include "cli/daemon.h"

#define PRINT_OPTION                                                              \
	{                                                                         \
		"--print-xml", VALUE_NONE, NULL, "print the XML, and that is all" \
	}
#define WHERE_OPTIONS                                                                           \
	{ "--current", VALUE_NONE, NULL, "of what runs, else of its definition; the default" }, \
		{ "--live", VALUE_NONE, NULL, "of the guest that runs" },                       \
		{ "--config", VALUE_NONE, NULL, "of its definition: for the next start" },      \
		{ "--persistent", VALUE_NONE, NULL, "of both, as far as it runs" }, CONNECT_OPTION
#define PLUG_OPTIONS PRINT_OPTION, WHERE_OPTIONS

/* What WHERE_OPTIONS say, as lodge_affect_flags. */
unsigned plug_flags(const struct invocation *invocation, struct lodge_domain *domain);
/* Is it a block device of this host? @path may be NULL. */
bool plug_is_block(const char *path);

#endif
