/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of files, before they last by themselves. See journal.h. */
#include "daemon/journal.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define VERSION     1
#define BLOCK       4096
#define HEADERS     2
#define FIRST_GROUP (HEADERS * BLOCK)
#define MAGIC       "lodge journal\n"
#define GROUP_MAGIC 0x70726a6cu /* zeros follow, which no text has: none is taken for a group */
#define REMOVED     G_MAXUINT32
#define BYTES_MAX   (64 * MIB) /* a file that is larger was not written by us */

struct header {
	char magic[16];
	u32 version;
	u32 checksum; /* of what follows */
	u64 generation;
	u64 first; /* group: older ones have had their time */
};

struct group {
	u32 magic;
	u32 checksum; /* of what follows, and of the changes */
	u64 number;
	u64 bytes; /* of changes */
};

struct journal {
	char *directory, *path;
	int fd;
	int refused;    /* errno of opening it to write; 0: it can be written */
	u32 table[256]; /* of the checksum */
	u64 generation;
	u64 number;      /* of the next group */
	u64 end, bytes;  /* where it will be; of the file */
	GByteArray *out; /* the group that is being made: head and changes */
};

GQuark journal_error_quark(void)
{
	return g_quark_from_static_string("lodge-journal");
}

static bool fail(const struct journal *journal, const char *doing, GError **error)
{
	g_set_error(error, JOURNAL_ERROR, JOURNAL_ERROR_SYSTEM, "cannot %s %s: %s", doing,
		    journal->path, g_strerror(errno));
	return false;
}

/* --- checksums: CRC-32C, as iSCSI has it (RFC 3720, B.4) --- */

static void make_table(u32 table[256])
{
	for (unsigned i = 0; i < 256; i++) {
		u32 value = i;

		for (unsigned bit = 0; bit < 8; bit++)
			value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
		table[i] = value;
	}
}

static u32 checksum(const struct journal *journal, const void *data, size_t bytes)
{
	u32 value = ~0u;

	for (const u8 *at = data; bytes--; at++)
		value = value >> 8 ^ journal->table[(value ^ *at) & 0xff];
	return ~value;
}

/* --- headers --- */

static u32 header_checksum(const struct journal *journal, const struct header *header)
{
	const size_t from = offsetof(struct header, generation);

	return checksum(journal, (const u8 *)header + from, sizeof(*header) - from);
}

static void make_header(const struct journal *journal, u64 generation, u8 block[BLOCK])
{
	struct header header = { .magic = MAGIC,
				 .version = GUINT32_TO_LE(VERSION),
				 .generation = GUINT64_TO_LE(generation),
				 .first = GUINT64_TO_LE(journal->number) };

	header.checksum = GUINT32_TO_LE(header_checksum(journal, &header));
	memset(block, 0, BLOCK);
	memcpy(block, &header, sizeof(header));
}

static bool read_headers(struct journal *journal, GError **error)
{
	bool found = false, ours = false;

	for (unsigned i = 0; i < HEADERS; i++) {
		struct header header;

		if (pread(journal->fd, &header, sizeof(header), i * BLOCK) != sizeof(header) ||
		    memcmp(header.magic, MAGIC, sizeof(MAGIC)))
			continue;
		if (GUINT32_FROM_LE(header.version) != VERSION) {
			g_set_error(error, JOURNAL_ERROR, JOURNAL_ERROR_VERSION,
				    "%s is of version %u, and this lodged knows %u; start and end "
				    "the lodged that wrote it, which empties it, and remove it",
				    journal->path, GUINT32_FROM_LE(header.version), VERSION);
			return false;
		}
		ours = true;
		if (GUINT32_FROM_LE(header.checksum) != header_checksum(journal, &header) ||
		    (found && GUINT64_FROM_LE(header.generation) < journal->generation))
			continue;
		found = true;
		journal->generation = GUINT64_FROM_LE(header.generation);
		journal->number = GUINT64_FROM_LE(header.first);
	}
	if (!found)
		g_set_error(error, JOURNAL_ERROR, JOURNAL_ERROR_FOREIGN, "%s is %s", journal->path,
			    ours ? "damaged at its start" : "no journal");
	return found;
}

/* --- making and opening --- */

static struct journal *new_journal(const char *directory)
{
	struct journal *journal = g_new0(struct journal, 1);

	journal->directory = g_strdup(directory);
	journal->path = g_build_filename(directory, JOURNAL_NAME, NULL);
	journal->fd = -1;
	journal->end = FIRST_GROUP;
	journal->out = g_byte_array_new();
	make_table(journal->table);
	return journal;
}

void journal_free(struct journal *journal)
{
	if (!journal)
		return;
	if (journal->fd >= 0)
		close(journal->fd);
	g_byte_array_unref(journal->out);
	g_free(journal->directory);
	g_free(journal->path);
	g_free(journal);
}

bool journal_is_read_only(const struct journal *journal)
{
	return journal->refused;
}

const char *journal_path(const struct journal *journal)
{
	return journal->path;
}

/* Not inherited by what is started, and gone with the process, whatever it died of. */
static bool lock(const struct journal *journal, GError **error)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (journal->refused || !fcntl(journal->fd, F_SETLK, &whole))
		return true;
	if (errno != EACCES && errno != EAGAIN)
		return fail(journal, "lock", error);
	g_set_error(error, JOURNAL_ERROR, JOURNAL_ERROR_BUSY,
		    "another lodged has %s; end it, or give this one another place",
		    journal->directory);
	return false;
}

static bool sync_folder(const struct journal *journal)
{
	int fd = open(journal->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && !fsync(fd);

	if (fd >= 0)
		close(fd);
	return good;
}

/* All blocks are written, not only reserved: else each would still have to be noted as used when
 * it is written first. */
static bool fill(struct journal *journal, const char *path)
{
	g_autofree u8 *blocks = g_malloc0(JOURNAL_BYTES);

	journal->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	for (unsigned i = 0; i < HEADERS; i++)
		make_header(journal, i, blocks + i * BLOCK);
	journal->generation = HEADERS - 1;
	journal->bytes = JOURNAL_BYTES;
	return journal->fd >= 0 && write_all(journal->fd, blocks, JOURNAL_BYTES) &&
	       !fsync(journal->fd);
}

struct journal *journal_create(const char *directory, GError **error)
{
	struct journal *journal = new_journal(directory);
	g_autofree char *path = g_strconcat(journal->path, ".new", NULL);

	journal->number = 1;
	if (fill(journal, path) && lock(journal, error) && !rename(path, journal->path) &&
	    sync_folder(journal))
		return journal;
	if (error && !*error)
		fail(journal, "make", error);
	unlink(path);
	journal_free(journal);
	return NULL;
}

static bool open_file(struct journal *journal, GError **error)
{
	const int flags = O_CLOEXEC | O_NOFOLLOW;
	struct stat st;

	journal->fd = open(journal->path, O_RDWR | flags);
	if (journal->fd < 0 && (errno == EROFS || errno == EACCES)) {
		journal->refused = errno;
		journal->fd = open(journal->path, O_RDONLY | flags);
	}
	if (journal->fd < 0)
		return errno != ENOENT && fail(journal, "open", error);
	if (fstat(journal->fd, &st))
		return fail(journal, "look at", error);
	journal->bytes = S_ISREG(st.st_mode) ? MIN(st.st_size, BYTES_MAX) / BLOCK * BLOCK : 0;
	return lock(journal, error) && read_headers(journal, error);
}

struct journal *journal_open(const char *directory, GError **error)
{
	struct journal *journal = new_journal(directory);

	if (open_file(journal, error))
		return journal;
	journal_free(journal);
	return NULL;
}

/* --- reading --- */

struct reader {
	struct journal *journal;
	u8 *data;         /* the whole file */
	GHashTable *last; /* path -> text, in the data; NULL: removed */
	GPtrArray *order; /* of paths, as they were first named */
	unsigned damaged;
};

/* The changes of the group at @at; 0: there is none. */
static u64 group_bytes(const struct reader *r, u64 at, struct group *group)
{
	const size_t from = offsetof(struct group, number);
	u64 bytes;

	memcpy(group, r->data + at, sizeof(*group));
	bytes = GUINT64_FROM_LE(group->bytes);
	if (GUINT32_FROM_LE(group->magic) != GROUP_MAGIC || !bytes ||
	    bytes > r->journal->bytes - at - sizeof(*group) ||
	    GUINT32_FROM_LE(group->checksum) !=
		    checksum(r->journal, r->data + at + from, sizeof(*group) - from + bytes))
		return 0;
	return bytes;
}

static u32 take_u32(const u8 *at)
{
	u32 value;

	memcpy(&value, at, sizeof(value));
	return GUINT32_FROM_LE(value);
}

/* Below the folder, and nowhere else. */
static bool is_below(const char *path)
{
	g_auto(GStrv) parts = g_strsplit(path, "/", -1);

	for (char **part = parts; *part; part++)
		if (!**part || !strcmp(*part, ".") || !strcmp(*part, ".."))
			return false;
	return *parts;
}

/* A checksum is right that a stranger may have made: lengths are looked at once more. */
static void take_changes(struct reader *r, const u8 *at, u64 left)
{
	while (left >= 8) {
		u32 path_bytes = take_u32(at), text_bytes = take_u32(at + 4);
		u64 whole = 8ull + path_bytes + (text_bytes == REMOVED ? 0 : text_bytes);
		char *path;

		if (whole > left)
			return;
		path = g_strndup((const char *)at + 8, path_bytes);
		if (is_below(path)) {
			char *text =
				text_bytes == REMOVED
					? NULL
					: g_strndup((const char *)at + 8 + path_bytes, text_bytes);

			if (!g_hash_table_contains(r->last, path))
				g_ptr_array_add(r->order, g_strdup(path));
			g_hash_table_insert(r->last, path, text);
		} else {
			g_free(path);
		}
		at += whole;
		left -= whole;
	}
}

static u64 round_up(u64 bytes)
{
	return (bytes + BLOCK - 1) / BLOCK * BLOCK;
}

/* What is there with a number that is too small is of earlier; numbers that are left out were in
 * blocks that are damaged. */
static void read_groups(struct reader *r)
{
	struct journal *journal = r->journal;
	u64 at = FIRST_GROUP;

	while (at + sizeof(struct group) <= journal->bytes) {
		struct group group;
		u64 bytes = group_bytes(r, at, &group), number = GUINT64_FROM_LE(group.number);

		if (!bytes || number < journal->number) {
			at += BLOCK;
			continue;
		}
		r->damaged += number - journal->number;
		take_changes(r, r->data + at + sizeof(group), bytes);
		journal->number = number + 1;
		at += round_up(sizeof(group) + bytes);
		journal->end = at;
	}
}

static bool read_file(struct reader *r)
{
	for (u64 done = 0; done < r->journal->bytes;) {
		ssize_t n = pread(r->journal->fd, r->data + done, r->journal->bytes - done, done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += n;
	}
	return true;
}

bool journal_read(struct journal *journal, journal_change *change, void *opaque, unsigned *damaged,
		  GError **error)
{
	struct reader r = { .journal = journal, .data = g_malloc(journal->bytes + BLOCK) };
	bool good = read_file(&r) || fail(journal, "read", error);

	r.last = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	r.order = g_ptr_array_new_with_free_func(g_free);
	if (good)
		read_groups(&r);
	for (guint i = 0; good && i < r.order->len; i++)
		good = change(r.order->pdata[i], g_hash_table_lookup(r.last, r.order->pdata[i]),
			      opaque, error);
	*damaged = r.damaged;
	g_ptr_array_unref(r.order);
	g_hash_table_unref(r.last);
	g_free(r.data);
	return good;
}

/* --- writing --- */

static void put_u32(GByteArray *out, u32 value)
{
	const u32 little = GUINT32_TO_LE(value);

	g_byte_array_append(out, (const u8 *)&little, sizeof(little));
}

bool journal_add(struct journal *journal, const char *path, const char *text)
{
	const size_t path_bytes = strlen(path), text_bytes = text ? strlen(text) : 0;
	const size_t head = journal->out->len ? 0 : sizeof(struct group);
	const size_t whole = head + journal->out->len + 8 + path_bytes + text_bytes;

	if (round_up(whole) > journal->bytes - journal->end)
		return false;
	if (head)
		g_byte_array_set_size(journal->out, head); /* filled in when it is written */
	put_u32(journal->out, path_bytes);
	put_u32(journal->out, text ? text_bytes : REMOVED);
	g_byte_array_append(journal->out, (const u8 *)path, path_bytes);
	if (text)
		g_byte_array_append(journal->out, (const u8 *)text, text_bytes);
	return true;
}

/* Writes whole blocks, and comes back when the disk has them. */
static bool write_blocks(struct journal *journal, const u8 *data, size_t bytes, u64 at)
{
	errno = journal->refused;
	if (journal->refused)
		return false;
	while (bytes) {
		struct iovec iov = { (void *)data, bytes };
		ssize_t n = pwritev2(journal->fd, &iov, 1, at, RWF_DSYNC);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n ? errno : ENOSPC;
			return false;
		}
		data += n;
		bytes -= n;
		at += n;
	}
	return true;
}

static void finish_group(struct journal *journal)
{
	const size_t from = offsetof(struct group, number), bytes = journal->out->len;
	struct group group = { .magic = GUINT32_TO_LE(GROUP_MAGIC),
			       .number = GUINT64_TO_LE(journal->number),
			       .bytes = GUINT64_TO_LE(bytes - sizeof(group)) };

	memcpy(journal->out->data, &group, sizeof(group));
	group.checksum = GUINT32_TO_LE(checksum(journal, journal->out->data + from, bytes - from));
	memcpy(journal->out->data, &group, sizeof(group));
	g_byte_array_set_size(journal->out, round_up(bytes));
	memset(journal->out->data + bytes, 0, journal->out->len - bytes);
}

bool journal_write(struct journal *journal, GError **error)
{
	bool good;

	if (!journal->out->len)
		return true;
	finish_group(journal);
	good = write_blocks(journal, journal->out->data, journal->out->len, journal->end) ||
	       fail(journal, "write", error);
	journal->number++; /* also where it failed: what is there of it is not to count */
	if (good)
		journal->end += journal->out->len;
	g_byte_array_set_size(journal->out, 0);
	return good;
}

bool journal_empty(struct journal *journal, GError **error)
{
	u8 block[BLOCK];

	make_header(journal, journal->generation + 1, block);
	if (!write_blocks(journal, block, BLOCK, (journal->generation + 1) % HEADERS * BLOCK))
		return fail(journal, "write", error);
	journal->generation++;
	journal->end = FIRST_GROUP;
	g_byte_array_set_size(journal->out, 0);
	return true;
}
