/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A volume's bytes as a stream of a client's, to it and from it.
 *
 *   download:  job reads a chunk --> stream --> (client has read) --> next job
 *   upload:    stream --> chunks --job writes what is there--> (client may send) --> ... --> fsync
 *
 * Each step is a job of the pool, so that what else is asked of the pool comes in between. Not more
 * than QUEUE_MAX bytes wait: a client that sends faster than the disk writes is not read from.
 *
 * A volume that is written is locked as a guest's disk is: one that a guest has is refused.
 */
#include "daemon/calls.h"
#include "daemon/calls_storage.h"

#include <unistd.h>

#define CHUNK_BYTES RPC_STREAM_BYTES_MAX
#define QUEUE_MAX   (1u << 20)

struct transfer {
	struct kept *pool; /* referenced */
	char *name;
	struct rpc_stream *stream; /* NULL: the client has ended it */
	int fd;
	u64 offset, left; /* from here on; so many bytes at most */
	bool upload, sparse;
	bool busy;     /* a job is under way */
	bool complete; /* the client has sent all */
	bool kept;     /* and it is on the disk */
	/* One step: of a download, what was read or how long the hole is; of an upload, what is to
	 * be written. */
	struct storage_piece piece;
	u8 *buffer;
	GQueue queue; /* struct storage_piece of an upload, each with bytes of its own or a hole */
	size_t queued;
};

/* What it takes to keep it. */
static size_t cost(const struct storage_piece *piece)
{
	return sizeof(*piece) + (piece->hole ? 0 : piece->length);
}

static void free_piece(gpointer opaque)
{
	struct storage_piece *piece = opaque;

	g_free(piece->bytes);
	g_free(piece);
}

static void free_transfer(struct transfer *t)
{
	if (t->fd >= 0)
		close(t->fd);
	g_queue_clear_full(&t->queue, free_piece);
	g_free(t->buffer);
	g_free(t->name);
	kept_unref(t->pool);
	g_free(t);
}

static void run(struct transfer *t, void (*work)(struct pool_job *job),
		void (*finish)(struct pool_job *job))
{
	struct pool_job *job = pool_job_new(t->pool, NULL, t->name);

	t->busy = true;
	job->data = t;
	job->work = work;
	job->finish = finish;
	pool_run(job);
}

/* A step is done. False: nobody waits for the next one, and the transfer is gone. */
static bool step_done(struct pool_job *job)
{
	struct transfer *t = job->data;

	t->busy = false;
	if (t->stream && !job->error)
		return true;
	if (t->stream)
		rpc_stream_fail(t->stream, job->error->code, VIR_FROM_STORAGE, job->error->message);
	free_transfer(t);
	return false;
}

/* The client has gone, or wants no more. */
static void on_ended(struct rpc_stream *stream, void *opaque)
{
	struct transfer *t = opaque;

	t->stream = NULL;
	if (!t->busy)
		free_transfer(t);
}

/* --- to the client --- */

static void work_read(struct pool_job *job)
{
	struct transfer *t = job->data;

	storage_read_piece(t->fd, t->offset, MIN(t->left, CHUNK_BYTES), t->sparse ? t->left : 0,
			   &t->piece, &job->error);
}

static void finish_read(struct pool_job *job);

static void read_on(struct transfer *t)
{
	t->piece = (struct storage_piece){ .bytes = t->buffer };
	run(t, work_read, finish_read);
}

static void finish_read(struct pool_job *job)
{
	struct transfer *t = job->data;
	const struct storage_piece piece = t->piece;
	bool more;

	if (!step_done(job))
		return;
	t->offset += piece.length;
	t->left -= piece.length;
	if (!piece.length) { /* the end of the file, or of what was asked for */
		rpc_stream_close(t->stream);
		free_transfer(t);
		return;
	}
	/* on_ended() may be called meanwhile, and finds it busy: then it is freed here */
	t->busy = true;
	more = piece.hole ? rpc_stream_send_hole(t->stream, piece.length)
			  : rpc_stream_send(t->stream, piece.bytes, piece.length);
	t->busy = false;
	if (!t->stream)
		free_transfer(t);
	else if (more)
		read_on(t);
}

static void on_client_reads(struct rpc_stream *stream, void *opaque)
{
	struct transfer *t = opaque;

	if (!t->busy)
		read_on(t);
}

static void take_nothing(struct rpc_stream *stream, const u8 *bytes, size_t n, void *opaque)
{
	/* what a client sends into a download is for nobody */
}

/* --- from the client --- */

static void work_write(struct pool_job *job)
{
	struct transfer *t = job->data;

	storage_write_piece(t->fd, t->offset, &t->piece, &job->error);
}

static void work_sync(struct pool_job *job)
{
	struct transfer *t = job->data;

	if (storage_sync(t->fd, &job->error))
		job->volume = storage_look(job_formats(job), job->folder, job->name, &job->error);
}

static void write_on(struct transfer *t);

static void finish_sync(struct pool_job *job)
{
	struct transfer *t = job->data;

	if (job->volume)
		pool_take_volume(job);
	if (!step_done(job))
		return;
	rpc_stream_finish(t->stream);
	free_transfer(t);
}

static void finish_write(struct pool_job *job)
{
	struct transfer *t = job->data;

	t->queued -= cost(&t->piece);
	g_clear_pointer(&t->piece.bytes, g_free);
	if (!step_done(job))
		return;
	t->offset += t->piece.length;
	if (t->queued < QUEUE_MAX)
		rpc_stream_hold(t->stream, false);
	write_on(t);
}

static void write_on(struct transfer *t)
{
	struct storage_piece *piece;

	if (t->busy)
		return;
	piece = g_queue_pop_head(&t->queue);
	if (piece) {
		t->piece = *piece;
		g_free(piece);
		run(t, work_write, finish_write);
	} else if (t->complete) {
		run(t, work_sync, finish_sync);
	}
}

/* False: it is more than was announced; the transfer is gone. */
static bool take_off(struct transfer *t, u64 bytes)
{
	struct rpc_stream *stream = t->stream;

	if (bytes <= t->left) {
		t->left -= bytes;
		return true;
	}
	t->stream = NULL;
	rpc_stream_fail(stream, VIR_ERR_OPERATION_FAILED, VIR_FROM_STORAGE,
			"the client sent more than it said it would");
	if (!t->busy)
		free_transfer(t);
	return false;
}

static void add_piece(struct transfer *t, const struct storage_piece *piece)
{
	g_queue_push_tail(&t->queue, g_memdup2(piece, sizeof(*piece)));
	t->queued += cost(piece);
	if (t->queued >= QUEUE_MAX)
		rpc_stream_hold(t->stream, true);
	write_on(t);
}

static void on_data(struct rpc_stream *stream, const u8 *bytes, size_t n, void *opaque)
{
	struct transfer *t = opaque;
	struct storage_piece piece = { .length = n };

	if (!n || !take_off(t, n))
		return;
	piece.bytes = g_memdup2(bytes, n); /* as large as a message at most */
	add_piece(t, &piece);
}

static void on_hole(struct rpc_stream *stream, u64 bytes, void *opaque)
{
	struct transfer *t = opaque;
	const struct storage_piece piece = { .hole = true, .length = bytes };

	if (bytes && take_off(t, bytes))
		add_piece(t, &piece);
}

static void on_finish(struct rpc_stream *stream, void *opaque)
{
	struct transfer *t = opaque;

	t->complete = true;
	write_on(t);
}

/* --- opening --- */

static const struct rpc_stream_callbacks download_callbacks = { .data = take_nothing,
								.writable = on_client_reads,
								.ended = on_ended };
static const struct rpc_stream_callbacks upload_callbacks = {
	.data = on_data, .ended = on_ended, .hole = on_hole, .finish = on_finish
};

static void work_open(struct pool_job *job)
{
	struct transfer *t = job->data;

	t->fd = storage_open(job->folder, job->name, t->upload, &job->error);
}

static void finish_open(struct pool_job *job)
{
	struct transfer *t = job->data;
	struct rpc_call *call = job->call;

	t->busy = false;
	if (!job->error) {
		t->stream = rpc_call_open_stream(
			call, t->upload ? &upload_callbacks : &download_callbacks, t);
		if (!t->stream)
			g_set_error(&job->error, DAEMON_ERROR, VIR_ERR_OPERATION_FAILED,
				    "this connection has as many streams open as it may");
	}
	if (job->error) {
		fail_call(call, g_steal_pointer(&job->error));
		free_transfer(t);
		return;
	}
	/* the answer may find the client gone: then on_ended() is called, and it is freed here */
	t->busy = true;
	rpc_call_answer(call, rpc_call_procedure(call), NULL);
	t->busy = false;
	if (!t->stream)
		free_transfer(t);
	else if (!t->upload)
		read_on(t);
}

static void start(struct rpc_call *call, struct transfer *wanted, const struct rpc_storage_vol *vol,
		  u64 length)
{
	struct transfer *t;
	struct pool_job *job;
	struct kept *pool;

	if (!call_volume(call, vol, &pool))
		return;
	if (wanted->offset > G_MAXINT64 || length > G_MAXINT64 - wanted->offset) {
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_STORAGE,
			      "no volume has so many bytes");
		return;
	}
	t = g_memdup2(wanted, sizeof(*wanted));
	t->pool = kept_ref(pool);
	t->name = g_strdup(vol->name);
	t->fd = -1;
	t->left = length ? length : (u64)G_MAXINT64 - t->offset;
	t->busy = true;
	t->buffer = t->upload ? NULL : g_malloc(CHUNK_BYTES);
	job = pool_job_new(pool, call, vol->name);
	job->data = t;
	job->work = work_open;
	job->finish = finish_open;
	pool_run(job);
}

static void upload(struct rpc_call *call, const struct rpc_storage_vol_upload_args *args)
{
	struct transfer wanted = { .upload = true, .offset = args->offset };

	if (call_flags(call, args->flags, VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM))
		start(call, &wanted, &args->vol, args->length);
}

static void download(struct rpc_call *call, const struct rpc_storage_vol_download_args *args)
{
	struct transfer wanted = { .offset = args->offset,
				   .sparse = args->flags & VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM };

	if (call_flags(call, args->flags, VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM))
		start(call, &wanted, &args->vol, args->length);
}

/* --- wiping --- */

static void work_wipe(struct pool_job *job)
{
	if (storage_wipe(job->folder, job->name, &job->error))
		job->volume = storage_look(job_formats(job), job->folder, job->name, &job->error);
}

static void finish_wipe(struct pool_job *job)
{
	if (job->volume)
		pool_take_volume(job);
	call_job_done(job);
}

static void wipe(struct rpc_call *call, const struct rpc_storage_vol *vol)
{
	struct pool_job *job;
	struct kept *pool;

	if (!call_volume(call, vol, &pool))
		return;
	job = pool_job_new(pool, call, vol->name);
	job->work = work_wipe;
	job->finish = finish_wipe;
	pool_run(job);
}

static void wipe_plain(struct rpc_call *call, const struct rpc_storage_vol_wipe_args *args)
{
	if (call_flags(call, args->flags, 0))
		wipe(call, &args->vol);
}

static void wipe_pattern(struct rpc_call *call,
			 const struct rpc_storage_vol_wipe_pattern_args *args)
{
	if (!call_flags(call, args->flags, 0))
		return;
	if (args->algorithm == VIR_STORAGE_VOL_WIPE_ALG_ZERO)
		wipe(call, &args->vol);
	else
		rpc_call_fail(call, VIR_ERR_ARGUMENT_UNSUPPORTED, VIR_FROM_STORAGE,
			      "volumes are wiped by zeroes alone in this version");
}

const struct rpc_handlers calls_transfer = {
	.storage_vol_upload = upload,
	.storage_vol_download = download,
	.storage_vol_wipe = wipe_plain,
	.storage_vol_wipe_pattern = wipe_pattern,
};
