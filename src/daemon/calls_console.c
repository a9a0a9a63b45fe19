/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's console as a stream of a client's: what a person would do at the pseudo terminal that
 * the live XML names.
 *
 *   client <--stream--> struct console <--pty--> lodge-vmm
 *
 * One client has a console at a time, since two would each see half. What the client types while
 * the guest does not read is kept up to TYPED_MAX and then lost, as at a real terminal; what the
 * guest prints waits in the pseudo terminal while the client does not read.
 *
 * Who comes is shown first what was printed before: the end of the console's log, which is written
 * a little later than the terminal, and so is read LOG_WAIT_MS after that was opened.
 */
#include "daemon/calls.h"
#include "domain/xml.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <string.h>
#include <unistd.h>

#define KEPT_SHOWN  16384 /* of what was printed before, when a client comes */
#define TYPED_MAX   65536
#define QUEUE_MAX   65536 /* of what waits in a terminal; the kernel holds less */
#define LOG_WAIT_MS 200   /* lodge-vmm writes its log later than that only when the host is slow */

struct console {
	struct guest *guest; /* referenced */
	struct rpc_stream *stream;
	int fd;
	guint readable, writable;
	GByteArray *typed;
};

static gboolean on_readable(gint fd, GIOCondition condition, gpointer opaque);

static void free_console(struct console *console)
{
	if (console->readable)
		g_source_remove(console->readable);
	if (console->writable)
		g_source_remove(console->writable);
	close(console->fd);
	g_byte_array_unref(console->typed);
	if (console->guest->console == console)
		console->guest->console = NULL;
	guest_unref(console->guest);
	g_free(console);
}

static void close_console(struct console *console)
{
	if (!console)
		return;
	rpc_stream_close(console->stream);
	free_console(console);
}

/* --- to the client --- */

static void watch_terminal(struct console *console)
{
	if (!console->readable)
		console->readable = g_unix_fd_add(console->fd, G_IO_IN, on_readable, console);
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer opaque)
{
	struct console *console = opaque;
	u8 chunk[4096];
	ssize_t n = read(fd, chunk, sizeof(chunk));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	console->readable = 0;
	if (n <= 0) {
		close_console(console); /* the guest has ended */
		return G_SOURCE_REMOVE;
	}
	/* a client that goes while it is sent to takes the console with it */
	if (rpc_stream_send(console->stream, chunk, n))
		watch_terminal(console);
	return G_SOURCE_REMOVE;
}

static void on_client_reads(struct rpc_stream *stream, void *opaque)
{
	watch_terminal(opaque);
}

/* --- to the guest --- */

static gboolean on_writable(gint fd, GIOCondition condition, gpointer opaque)
{
	struct console *console = opaque;
	ssize_t n = write(fd, console->typed->data, console->typed->len);

	if (n > 0)
		g_byte_array_remove_range(console->typed, 0, n);
	if (console->typed->len && (n > 0 || errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	g_byte_array_set_size(console->typed, 0);
	console->writable = 0;
	return G_SOURCE_REMOVE;
}

static void on_typed(struct rpc_stream *stream, const u8 *bytes, size_t n, void *opaque)
{
	struct console *console = opaque;
	size_t room = TYPED_MAX - console->typed->len;

	g_byte_array_append(console->typed, bytes, MIN(n, room));
	if (!console->writable && console->typed->len)
		console->writable = g_unix_fd_add(console->fd, G_IO_OUT, on_writable, console);
}

static void on_client_ends(struct rpc_stream *stream, void *opaque)
{
	free_console(opaque);
}

static const struct rpc_stream_callbacks callbacks = { on_typed, on_client_reads, on_client_ends };

/* --- opening --- */

static bool is_called(const xmlNode *device, const char *alias)
{
	return !alias || xml_attr_is(xml_child(device, "alias"), "name", alias);
}

/* The pseudo terminal of the device with that alias, or of the first console. */
static const char *terminal_of(const struct guest *guest, const char *alias)
{
	const xmlNode *devices = xml_find(xmlDocGetRootElement(guest->live->doc), "devices");
	static const char *const elements[] = { "console", "serial" };

	for (size_t i = 0; i < ARRAY_LEN(elements); i++)
		xml_for_each(device, devices, elements[i])
		{
			const xmlNode *source = xml_child(device, "source");

			if (is_called(device, alias) && xml_attr_is(device, "type", "pty") &&
			    source)
				return xml_attr(source, "path");
		}
	return NULL;
}

/* --- what it has said before --- */

/* The device whose output lodged keeps by itself (src/launch/chardev.c), if it is @path. */
static bool is_kept(const struct guest *guest, const char *path)
{
	const xmlNode *devices = xml_find(xmlDocGetRootElement(guest->live->doc), "devices");
	const xmlNode *first = xml_child(devices, "serial");

	while (first && xml_attr_is(xml_child(first, "target"), "type", "isa-debug"))
		first = xml_next(first, "serial");
	if (!first)
		first = xml_child(devices, "console");
	return first && !xml_child(first, "log") &&
	       !g_strcmp0(xml_attr(xml_child(first, "source"), "path"), path);
}

/* The end of it, whole lines if it is long; the caller unrefs it. It is short and was just written,
 * so that no disk is waited for. */
static GByteArray *read_kept(const struct guest *guest)
{
	g_autofree char *file = g_strconcat(guest->name, ".console.log", NULL);
	g_autofree char *path = g_build_filename(guest->daemon->places.log, file, NULL);
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	GByteArray *kept = g_byte_array_new();
	off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0, from;
	const u8 *line;
	ssize_t n;

	/* a log that has begun again since is all this guest's */
	from = end >= (off_t)guest->console_start ? (off_t)guest->console_start : 0;
	g_byte_array_set_size(kept, MIN(MAX(end - from, 0), KEPT_SHOWN));
	n = kept->len ? pread(fd, kept->data, kept->len, end - kept->len) : 0;
	g_byte_array_set_size(kept, MAX(n, 0));
	line = end - from > KEPT_SHOWN ? memchr(kept->data, '\n', kept->len) : NULL;
	if (line)
		g_byte_array_remove_range(kept, 0, line + 1 - kept->data);
	if (fd >= 0)
		close(fd);
	return kept;
}

/* What waits in the terminal; the caller unrefs it. */
static GByteArray *drain(const struct console *console)
{
	GByteArray *waiting = g_byte_array_new();
	u8 chunk[4096];
	ssize_t n;

	while (waiting->len < QUEUE_MAX && (n = read(console->fd, chunk, sizeof(chunk))) > 0)
		g_byte_array_append(waiting, chunk, n);
	return waiting;
}

/* How much of the beginning of @waiting is the end of @kept: what was printed after the terminal
 * had been opened is in both. */
static guint overlap(const GByteArray *kept, const GByteArray *waiting)
{
	guint n = MIN(kept->len, waiting->len);

	while (n && memcmp(kept->data + kept->len - n, waiting->data, n))
		n--;
	return n;
}

/* The log has by now all that was printed before the terminal was opened. */
static gboolean show_kept(gpointer opaque)
{
	struct console *console = opaque;
	GByteArray *kept = read_kept(console->guest), *waiting = drain(console);
	guint seen = overlap(kept, waiting);

	console->readable = 0;
	g_byte_array_append(kept, waiting->data + seen, waiting->len - seen);
	g_byte_array_unref(waiting);
	/* a client that goes while it is sent to takes the console with it */
	if (!kept->len || rpc_stream_send(console->stream, kept->data, kept->len))
		watch_terminal(console);
	g_byte_array_unref(kept);
	return G_SOURCE_REMOVE;
}

static bool may_open(struct rpc_call *call, const struct guest *guest, u32 flags)
{
	if (!guest_is_active(guest) || guest->starting) {
		rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU,
			      "Requested operation is not valid: domain '%s' is not running",
			      guest->name);
		return false;
	}
	if (guest->console && !(flags & VIR_DOMAIN_CONSOLE_FORCE)) {
		rpc_call_fail(call, VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU,
			      "operation failed: Active console session exists for domain '%s'; "
			      "--force ends it",
			      guest->name);
		return false;
	}
	return true;
}

static void open_console(struct rpc_call *call, const struct rpc_domain_open_console_args *args)
{
	struct guest *guest;
	struct console *console;
	const char *path;
	bool kept;
	int fd;

	if (!call_flags(call, args->flags, VIR_DOMAIN_CONSOLE_FORCE | VIR_DOMAIN_CONSOLE_SAFE) ||
	    !(guest = call_guest(call, &args->dom)) || !may_open(call, guest, args->flags))
		return;
	path = terminal_of(guest, args->dev_name);
	fd = path ? open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC) : -1;
	if (fd < 0) {
		rpc_call_fail(call, path ? VIR_ERR_SYSTEM_ERROR : VIR_ERR_INTERNAL_ERROR,
			      VIR_FROM_QEMU,
			      path ? "cannot open the console of domain '%s': %s"
				   : "domain '%s' has no console that is a pseudo terminal%s",
			      guest->name, path ? g_strerror(errno) : "");
		return;
	}
	close_console(guest->console);
	console = g_new0(struct console, 1);
	console->stream = rpc_call_open_stream(call, &callbacks, console);
	if (!console->stream) {
		g_free(console);
		close(fd);
		rpc_call_fail(call, VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU,
			      "this connection has as many streams open as it may");
		return;
	}
	console->guest = guest_ref(guest);
	console->fd = fd;
	console->typed = g_byte_array_new();
	guest->console = console;
	kept = is_kept(guest, path);
	rpc_reply_domain_open_console(call);
	if (!kept) {
		watch_terminal(console);
		return;
	}
	g_byte_array_unref(drain(console)); /* of who was here before; the log has it too */
	console->readable = g_timeout_add(LOG_WAIT_MS, show_kept, console);
}

const struct rpc_handlers calls_console = { .domain_open_console = open_console };
