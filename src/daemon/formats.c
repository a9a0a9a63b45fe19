/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Formats of images. See formats.h. */
#include "daemon/formats.h"

#include "base/log_sink.h"
#include "domain/message.h"
#include "launch/launch.h"

#include <pthread.h>
#include <string.h>

#define REMEMBERED_MAX 16384
#define SMALLEST       64 /* bytes: no image of another format than raw has less */

/* The file, and that it is as it was. */
struct key {
	u64 device, inode, bytes;
	s64 seconds, nanoseconds;
};

struct formats {
	pthread_mutex_t lock;
	GHashTable *known; /* struct key -> struct image_format */
	bool complained;   /* that lodge-img cannot be asked */
};

static struct key key_of(const struct stat *st)
{
	return (struct key){ .device = st->st_dev,
			     .inode = st->st_ino,
			     .bytes = st->st_size,
			     .seconds = st->st_mtim.tv_sec,
			     .nanoseconds = st->st_mtim.tv_nsec };
}

static guint hash(gconstpointer opaque)
{
	const struct key *key = opaque;

	return key->inode * 31 + key->device * 17 + key->bytes + key->nanoseconds;
}

static gboolean equal(gconstpointer a, gconstpointer b)
{
	return !memcmp(a, b, sizeof(struct key)); /* it has no padding */
}

void image_format_clear(struct image_format *format)
{
	g_free(format->backing);
	g_free(format->backing_format);
	*format = (struct image_format){ 0 };
}

static void free_format(gpointer opaque)
{
	image_format_clear(opaque);
	g_free(opaque);
}

static struct image_format copy(const struct image_format *format)
{
	return (struct image_format){ format->name, format->capacity, g_strdup(format->backing),
				      g_strdup(format->backing_format) };
}

struct formats *formats_new(void)
{
	struct formats *formats = g_new0(struct formats, 1);

	pthread_mutex_init(&formats->lock, NULL);
	formats->known = g_hash_table_new_full(hash, equal, g_free, free_format);
	return formats;
}

void formats_free(struct formats *formats)
{
	if (!formats)
		return;
	g_hash_table_unref(formats->known);
	pthread_mutex_destroy(&formats->lock);
	g_free(formats);
}

/* Of what clients know. */
static const char *static_name(const char *name)
{
	static const char *const names[] = { "qcow", "qcow2", "qed", "vmdk",
					     "vdi",  "vpc",   "iso", "luks" };

	for (unsigned i = 0; name && i < ARRAY_LEN(names); i++)
		if (!strcmp(names[i], name))
			return names[i];
	return NULL;
}

static struct image_format raw(const struct stat *st)
{
	return (struct image_format){ .name = "raw", .capacity = st->st_size };
}

/* A file's, as XML may have it: control characters are none. */
static char *name_of(const json_t *value)
{
	return json_is_string(value) ? domain_message_text(g_strdup(json_string_value(value)))
				     : NULL;
}

static struct image_format read_answer(const json_t *answer, const struct stat *st)
{
	const char *name = static_name(json_string_value(json_object_get(answer, "format")));
	const json_t *size = json_object_get(answer, "virtual-size");
	struct image_format format = raw(st);

	if (!name || !json_is_integer(size) || json_integer_value(size) < 0)
		return format;
	format.name = name;
	format.capacity = json_integer_value(size);
	format.backing = name_of(json_object_get(answer, "backing-file"));
	format.backing_format =
		g_strdup(static_name(json_string_value(json_object_get(answer, "backing-format"))));
	return format;
}

/* Only main's log: no client is told of it at each file. */
static void complain(struct formats *formats, const GError *error)
{
	bool first;

	pthread_mutex_lock(&formats->lock);
	first = !formats->complained;
	formats->complained = true;
	pthread_mutex_unlock(&formats->lock);
	if (first)
		log_warning("lodged", "all volumes are taken for raw ones: %s", error->message);
}

static bool recall(struct formats *formats, const struct stat *st, struct image_format *found)
{
	struct key key = key_of(st);
	const struct image_format *known;

	pthread_mutex_lock(&formats->lock);
	known = g_hash_table_lookup(formats->known, &key);
	if (known)
		*found = copy(known);
	pthread_mutex_unlock(&formats->lock);
	return known;
}

static void remember(struct formats *formats, const struct stat *st,
		     const struct image_format *found)
{
	struct key key = key_of(st);
	struct image_format mine = copy(found);

	pthread_mutex_lock(&formats->lock);
	if (g_hash_table_size(formats->known) >= REMEMBERED_MAX)
		g_hash_table_remove_all(formats->known);
	g_hash_table_replace(formats->known, g_memdup2(&key, sizeof(key)),
			     g_memdup2(&mine, sizeof(mine)));
	pthread_mutex_unlock(&formats->lock);
}

/* @which of @fds are not known yet. */
static void ask(struct formats *formats, const int *fds, const struct stat *stats,
		const unsigned *which, unsigned count, struct image_format *found)
{
	g_autofree int *asked = g_new(int, count);
	GError *error = NULL;
	json_t *answers;

	for (unsigned i = 0; i < count; i++)
		asked[i] = fds[which[i]];
	answers = launch_image_info(asked, count, &error);
	if (!answers) {
		complain(formats, error);
		g_error_free(error);
		return;
	}
	for (unsigned i = 0; i < count; i++) {
		found[which[i]] = read_answer(json_array_get(answers, i), &stats[which[i]]);
		remember(formats, &stats[which[i]], &found[which[i]]);
	}
	json_decref(answers);
}

void formats_find(struct formats *formats, const int *fds, const struct stat *stats, unsigned count,
		  struct image_format *found)
{
	unsigned which[FORMATS_MAX], unknown = 0;

	for (unsigned i = 0; i < count; i++) {
		if (stats[i].st_size >= SMALLEST && recall(formats, &stats[i], &found[i]))
			continue;
		found[i] = raw(&stats[i]);
		if (stats[i].st_size >= SMALLEST && unknown < FORMATS_MAX)
			which[unknown++] = i;
	}
	if (unknown)
		ask(formats, fds, stats, which, unknown, found);
}
