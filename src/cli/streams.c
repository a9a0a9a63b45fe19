/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands whose bytes go beside the calls: a guest's console, a volume's content. */
#include "base/file.h"
#include "cli/daemon.h"
#include "cli/size.h"
#include "cli/terminal.h"
#include "cli/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEYS_MAX 4096
#define ESCAPE   0x1d /* Ctrl-], as virsh's */

/* --- console --- */

/* All that has come, to the screen. True with *@ended: no more comes. False: an error. */
static bool show(struct lodge_stream *stream, bool *ended)
{
	char bytes[KEYS_MAX];
	ssize_t n;

	while ((n = lodge_stream_receive(stream, bytes, sizeof(bytes), LODGE_RECEIVE_NO_WAIT)) > 0)
		if (!write_all(STDOUT_FILENO, bytes, n))
			n = 0;
	*ended = !n;
	return n != -1;
}

/* What has been typed, to the guest. *@ended: the escape key, or the input's end. */
static bool type_keys(struct lodge_stream *stream, bool raw, bool *ended)
{
	char keys[KEYS_MAX];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));
	const char *escape = raw && n > 0 ? memchr(keys, ESCAPE, n) : NULL;

	*ended = n <= 0 || escape;
	if (escape)
		n = escape - keys;
	return n <= 0 || !lodge_stream_send(stream, keys, n);
}

static bool talk(struct lodge_connection *c, struct lodge_stream *stream, bool raw)
{
	struct pollfd fds[] = { { STDIN_FILENO, POLLIN, 0 },
				{ lodge_connection_fd(c), POLLIN, 0 } };
	bool good = true, ended = false, typed = false;

	while (good && !ended) {
		poll(fds, 2, -1);
		if (fds[1].revents)
			good = show(stream, &ended);
		if (good && !ended && fds[0].revents)
			good = type_keys(stream, raw, &typed);
		if (typed && raw)
			ended = true;
		else if (typed) /* a script's input has ended: what the guest says still counts */
			fds[0].fd = -1;
	}
	return good;
}

bool console_open(struct lodge_connection *connection, struct lodge_domain *domain,
		  const char *device, unsigned flags)
{
	struct lodge_stream *stream = lodge_domain_console(domain, device, flags);
	bool raw = isatty(STDIN_FILENO), good;

	if (!stream)
		return false;
	if (raw)
		fprintf(stderr, "Connected to guest '%s'; Ctrl-] leaves it\n",
			lodge_domain_name(domain));
	raw = raw && terminal_enter_raw(STDIN_FILENO);
	good = talk(connection, stream, raw);
	if (raw) {
		terminal_restore();
		fprintf(stderr, "\n");
	}
	lodge_stream_free(stream);
	return good;
}

static int console(const struct invocation *invocation)
{
	unsigned flags = invocation_has(invocation, "--force") ? LODGE_CONSOLE_FORCE : 0;
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	bool good =
		domain && console_open(c, domain, invocation_value(invocation, "--devname"), flags);

	lodge_domain_free(domain);
	return daemon_end(c, good);
}

/* --- volumes --- */

/* The volume that the first argument names, in the pool of --pool or by its path. */
static struct lodge_volume *volume_of(struct lodge_connection *c,
				      const struct invocation *invocation)
{
	const char *in = invocation_value(invocation, "--pool");
	struct lodge_volume *volume;
	struct lodge_pool *pool;

	if (!c || !in)
		return c ? lodge_volume_by_path(c, argument(invocation, 0), 0) : NULL;
	pool = lodge_pool_by_name(c, in, 0);
	volume = pool ? lodge_volume_by_name(pool, argument(invocation, 0), 0) : NULL;
	lodge_pool_free(pool);
	return volume;
}

/* A part of a volume; length 0: all that follows. */
struct extent {
	guint64 offset, length;
};

/* False: it has been said which is none. */
static bool read_bytes(const struct invocation *invocation, const char *option, guint64 *bytes)
{
	const char *text = invocation_value(invocation, option);

	*bytes = text ? size_parse(text, 1) : 0;
	if (!text || *bytes || !strcmp(text, "0"))
		return true;
	fprintf(stderr, "lodge %s: %s is a number of bytes, as 1048576 or 1M, not '%s'\n",
		invocation->command->name, option, text);
	return false;
}

/* Opens the file and moves all. *@local: the file is at fault, and errno says how. */
static bool move(struct lodge_volume *volume, const char *path, bool up,
		 const struct extent *extent, bool *local)
{
	int fd = up ? open(path, O_RDONLY | O_CLOEXEC)
		    : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool good;

	*local = fd < 0;
	if (fd < 0)
		return false;
	good = up ? transfer_upload(volume, fd, extent->offset, extent->length, local)
		  : transfer_download(volume, fd, extent->offset, extent->length, local);
	if (close(fd) && good)
		*local = !(good = false);
	return good;
}

static int transfer(const struct invocation *invocation)
{
	const char *path = argument(invocation, 1);
	bool up = !strcmp(invocation->command->name, "vol-upload"), local = false, good;
	struct lodge_connection *c;
	struct lodge_volume *volume;
	struct extent extent;

	if (!read_bytes(invocation, "--offset", &extent.offset) ||
	    !read_bytes(invocation, "--length", &extent.length))
		return EXIT_USAGE;
	c = daemon_connect(invocation, 0);
	volume = volume_of(c, invocation);
	good = volume && move(volume, path, up, &extent, &local);
	if (local)
		fprintf(stderr, "lodge: %s: %s\n", path, g_strerror(errno));
	lodge_volume_free(volume);
	if (!local)
		return daemon_end(c, good);
	lodge_connection_free(c);
	return 1;
}

static const struct command_option console_options[] = {
	{ "--devname", VALUE_TEXT, "ALIAS", "which console, as serial0; the first without it" },
	{ "--force", VALUE_NONE, NULL, "even if somebody else has it: they lose it" },
	CONNECT_OPTION,
	{},
};
static const struct command_option volume_options[] = {
	{ "--pool", VALUE_TEXT, "POOL", "VOLUME is a name in this pool, not a path" },
	{ "--offset", VALUE_TEXT, "BYTES", "where in the volume it begins" },
	{ "--length", VALUE_TEXT, "BYTES", "how much at most, instead of all" },
	CONNECT_OPTION,
	{},
};

const struct command commands_streams[] = {
	{ .name = "console",
	  .arguments = "GUEST",
	  .kind = ARGUMENT_GUEST,
	  .arguments_min = 1,
	  .arguments_max = 1,
	  .summary = "a guest's console on this terminal",
	  .description = "Connects this terminal to a console of a guest that runs; Ctrl-] leaves "
			 "it. Without a\n"
			 "terminal it ends with the guest.",
	  .options = console_options,
	  .action = console },
	{ .name = "vol-upload",
	  .arguments = "VOLUME FILE",
	  .kind = ARGUMENT_TEXT,
	  .arguments_min = 2,
	  .arguments_max = 2,
	  .summary = "fill a volume from a file",
	  .options = volume_options,
	  .action = transfer },
	{ .name = "vol-download",
	  .arguments = "VOLUME FILE",
	  .kind = ARGUMENT_TEXT,
	  .arguments_min = 2,
	  .arguments_max = 2,
	  .summary = "write a volume's content to a file",
	  .options = volume_options,
	  .action = transfer },
	{},
};
