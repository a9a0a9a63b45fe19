/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Open files for guests: a shell opens them for lodge, `lodge start web1 --pass-fds 3 3<>disk.img`,
 * and a disk of the guest names them by <source fdgroup='...'/>.
 */
#include "cli/files.h"

#include "cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define FDS_MAX 32 /* that go with one call */

/* "3,4"; false: it has been said why not. */
static bool read_numbers(const char *name, const char *text, int *fds, unsigned *count)
{
	g_auto(GStrv) words = g_strsplit(text, ",", -1);

	*count = g_strv_length(words);
	if (!*count || *count > FDS_MAX) {
		fprintf(stderr, "lodge %s: 1 to %d descriptors can be passed\n", name, FDS_MAX);
		return false;
	}
	for (unsigned i = 0; i < *count; i++) {
		guint64 number;

		if (!g_ascii_string_to_unsigned(words[i], 10, 0, G_MAXINT, &number, NULL) ||
		    fcntl(number, F_GETFD) < 0) {
			fprintf(stderr,
				"lodge %s: '%s' is no open descriptor; open it with the shell, "
				"as in 3<>FILE\n",
				name, words[i]);
			return false;
		}
		fds[i] = number;
	}
	return true;
}

bool files_read(const struct invocation *invocation, struct passed_files *files)
{
	const char *text = invocation_value(invocation, "--pass-fds");

	files->count = 0;
	return !text || read_numbers(invocation->command->name, text, files->fds, &files->count);
}

/* "NAME=3,4" */
static bool associate(const struct invocation *invocation, struct lodge_domain *domain,
		      const char *text, bool *said)
{
	const char *numbers = strrchr(text, '=');
	g_autofree char *group = numbers ? g_strndup(text, numbers - text) : NULL;
	struct passed_files files;

	*said = true;
	if (!group || !*group) {
		fprintf(stderr, "lodge %s: --fd-group is NAME=NUMBER,..., not '%s'\n",
			invocation->command->name, text);
		return false;
	}
	if (!read_numbers(invocation->command->name, numbers + 1, files.fds, &files.count))
		return false;
	*said = false;
	return !lodge_domain_fd_associate(domain, group, files.fds, files.count, 0);
}

bool files_associate_all(const struct invocation *invocation, struct lodge_domain *domain,
			 bool *said)
{
	const char *text;

	*said = false;
	for (unsigned i = 0; (text = invocation_nth(invocation, "--fd-group", i)); i++)
		if (!associate(invocation, domain, text, said))
			return false;
	return true;
}
