/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See transfer.h. */
#include "cli/transfer.h"

#include "base/file.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (256 * 1024)

void progress_show(struct progress *progress, bool end)
{
	gint64 now = g_get_monotonic_time();

	if (!isatty(STDERR_FILENO) || (!end && now - progress->shown < G_USEC_PER_SEC / 5))
		return;
	progress->shown = now;
	fprintf(stderr, "\r%s: %.1f MiB", progress->what, progress->done / 1048576.0);
	if (progress->all)
		fprintf(stderr, " of %.1f (%.0f %%)", progress->all / 1048576.0,
			100.0 * progress->done / progress->all);
	fprintf(stderr, end ? "\n" : "  ");
}

/* @most bytes, or with 0 all. */
static bool send_all(struct lodge_stream *stream, int fd, guint64 most, struct progress *progress,
		     bool *local)
{
	g_autofree char *bytes = g_malloc(CHUNK);
	ssize_t n;

	while ((n = read(fd, bytes, most ? MIN(CHUNK, most - progress->done) : CHUNK)) > 0) {
		if (lodge_stream_send(stream, bytes, n))
			return false;
		progress->done += n;
		progress_show(progress, false);
	}
	*local = n < 0;
	return !n && !lodge_stream_finish(stream);
}

bool transfer_upload(struct lodge_volume *volume, int fd, guint64 offset, guint64 length,
		     bool *local)
{
	struct progress progress = { lodge_volume_name(volume) };
	struct lodge_stream *stream;
	struct stat st;
	bool good;

	*local = false;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode))
		progress.all = length ? MIN(length, (guint64)st.st_size) : (guint64)st.st_size;
	stream = lodge_volume_upload(volume, offset, length ? length : progress.all, 0);
	good = stream && send_all(stream, fd, length, &progress, local);
	if (good)
		progress_show(&progress, true);
	lodge_stream_free(stream);
	return good;
}

static bool receive_all(struct lodge_stream *stream, int fd, struct progress *progress, bool *local)
{
	g_autofree char *bytes = g_malloc(CHUNK);
	ssize_t n;

	while ((n = lodge_stream_receive(stream, bytes, CHUNK, 0)) > 0) {
		*local = !write_all(fd, bytes, n);
		if (*local)
			return false;
		progress->done += n;
		progress_show(progress, false);
	}
	return !n && !lodge_stream_finish(stream);
}

bool transfer_download(struct lodge_volume *volume, int fd, guint64 offset, guint64 length,
		       bool *local)
{
	struct progress progress = { lodge_volume_name(volume) };
	struct lodge_stream *stream;
	struct lodge_volume_info info;
	bool good;

	*local = false;
	if (!lodge_volume_info(volume, &info, 0) && offset < info.capacity_bytes)
		progress.all = info.capacity_bytes - offset;
	if (length)
		progress.all = MIN(progress.all, length);
	stream = lodge_volume_download(volume, offset, length, 0);
	good = stream && receive_all(stream, fd, &progress, local);
	if (good)
		progress_show(&progress, true);
	lodge_stream_free(stream);
	return good;
}

/* --- into a new volume --- */

struct filling {
	struct lodge_volume *volume;
	int fd;
	struct progress progress;
	const volatile int *interrupted;
	bool *local;
};

static bool fail_local(struct filling *f, int number)
{
	*f->local = true;
	errno = number;
	return false;
}

/* The bytes from @at to @end, through a stream of their own. */
static bool fill_extent(struct filling *f, off_t at, off_t end)
{
	struct lodge_stream *stream = lodge_volume_upload(f->volume, at, end - at, 0);
	g_autofree char *bytes = g_malloc(CHUNK);
	bool good = stream;

	while (good && at < end) {
		ssize_t n = pread(f->fd, bytes, MIN(CHUNK, end - at), at);

		if (n <= 0 || *f->interrupted)
			good = fail_local(f, *f->interrupted ? EINTR : n < 0 ? errno : EIO);
		else
			good = !lodge_stream_send(stream, bytes, n);
		if (good) {
			at += n;
			f->progress.done += n;
			progress_show(&f->progress, false);
		}
	}
	good = good && !lodge_stream_finish(stream);
	lodge_stream_free(stream);
	return good;
}

bool transfer_fill(struct lodge_volume *volume, int fd, const char *what,
		   const volatile int *interrupted, bool *local)
{
	struct filling f = { volume, fd, { what }, interrupted, local };
	off_t at = 0, end = 0;
	struct stat st;
	bool good = true;

	*local = false;
	if (fstat(fd, &st))
		return fail_local(&f, errno);
	f.progress.all = MIN(st.st_size, st.st_blocks * 512);
	while (good && at < st.st_size) {
		at = lseek(fd, end, SEEK_DATA);
		if (at < 0 && errno == ENXIO) /* only a hole is left */
			break;
		end = at < 0 ? -1 : lseek(fd, at, SEEK_HOLE);
		good = end < 0 ? fail_local(&f, errno) : fill_extent(&f, at, end);
		at = end;
	}
	if (good)
		progress_show(&f.progress, true);
	return good;
}
