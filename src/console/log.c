/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A copy of what a console prints. See log.h. */
#include "console/log.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GATHERED_MAX (1 * MIB) /* that the disk has not taken; more is left out, with a line */
#define COPY_BYTES   65536

struct console_log {
	int fd, old_fd;
	u64 bytes, bytes_max;
	char *name;
	bool failing; /* it cannot be written, and lodge-vmm's log says so */

	pthread_mutex_t lock; /* below */
	GByteArray *gathered;
	u64 left_out;
};

struct console_log *console_log_open(int fd, int old_fd, u64 bytes_max, const char *name)
{
	struct console_log *log = g_new0(struct console_log, 1);
	struct stat st;

	log->fd = fd;
	log->old_fd = old_fd;
	log->bytes = fstat(fd, &st) ? 0 : st.st_size;
	log->bytes_max = bytes_max;
	log->name = g_strdup(name);
	log->gathered = g_byte_array_new();
	pthread_mutex_init(&log->lock, NULL);
	return log;
}

void console_log_close(struct console_log *log)
{
	if (!log)
		return;
	console_log_write(log);
	pthread_mutex_destroy(&log->lock);
	g_byte_array_unref(log->gathered);
	close(log->fd);
	if (log->old_fd >= 0)
		close(log->old_fd);
	g_free(log->name);
	g_free(log);
}

bool console_log_add(struct console_log *log, const u8 *data, size_t bytes)
{
	size_t taken;
	bool first;

	pthread_mutex_lock(&log->lock);
	first = !log->gathered->len;
	taken = MIN(bytes, GATHERED_MAX - log->gathered->len);
	g_byte_array_append(log->gathered, data, taken);
	log->left_out += bytes - taken;
	pthread_mutex_unlock(&log->lock);
	return first;
}

bool console_log_waits(struct console_log *log)
{
	bool waits;

	pthread_mutex_lock(&log->lock);
	waits = log->gathered->len;
	pthread_mutex_unlock(&log->lock);
	return waits;
}

/* --- writing --- */

static void copy_to_old(const struct console_log *log)
{
	g_autofree u8 *chunk = g_malloc(COPY_BYTES);
	off_t at = 0;
	ssize_t n;

	if (ftruncate(log->old_fd, 0))
		return;
	while ((n = pread(log->fd, chunk, COPY_BYTES, at)) > 0 &&
	       pwrite(log->old_fd, chunk, n, at) == n)
		at += n;
}

static void begin_again(struct console_log *log)
{
	if (log->old_fd >= 0)
		copy_to_old(log);
	if (!ftruncate(log->fd, 0))
		log->bytes = 0;
}

static void write_gathered(struct console_log *log, const u8 *data, size_t bytes)
{
	if (log->bytes + bytes > log->bytes_max && log->bytes)
		begin_again(log);
	if (write_all(log->fd, data, bytes)) {
		log->bytes += bytes;
		log->failing = false;
	} else if (!log->failing) {
		log->failing = true;
		log_error("console", "%s: what it prints is not kept: %s", log->name,
			  g_strerror(errno));
	}
}

void console_log_write(struct console_log *log)
{
	GByteArray *gathered;
	u64 left_out;

	pthread_mutex_lock(&log->lock);
	gathered = log->gathered;
	left_out = log->left_out;
	log->gathered = g_byte_array_new();
	log->left_out = 0;
	pthread_mutex_unlock(&log->lock);
	if (gathered->len)
		write_gathered(log, gathered->data, gathered->len);
	g_byte_array_unref(gathered);
	if (left_out) {
		g_autofree char *line = g_strdup_printf(
			"\n[%" G_GUINT64_FORMAT " bytes are left out: the disk is too slow]\n",
			left_out);

		write_gathered(log, (const u8 *)line, strlen(line));
	}
}
