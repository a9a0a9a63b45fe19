/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All guests, and how they are found again when lodged starts. See guest.h. */
#include "daemon/guest.h"

#include "base/log_sink.h"
#include "daemon/restraint.h"
#include "daemon/store.h"
#include "domain/domain.h"
#include "launch/launch.h"
#include "rpc_constants.h"

#include <stdlib.h>
#include <string.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

struct guests {
	struct daemon *daemon;
	GHashTable *by_uuid; /* uuid_text -> struct guest, referenced */
	GHashTable *by_name;
	int last_id;
};

/* --- the registry --- */

struct guests *guests_new(struct daemon *daemon)
{
	struct guests *guests = g_new0(struct guests, 1);

	guests->daemon = daemon;
	guests->by_uuid = g_hash_table_new(g_str_hash, g_str_equal);
	guests->by_name = g_hash_table_new(g_str_hash, g_str_equal);
	return guests;
}

void guests_add(struct guests *guests, struct guest *guest)
{
	guest->listed = true;
	g_hash_table_insert(guests->by_uuid, guest->uuid_text, guest_ref(guest));
	g_hash_table_insert(guests->by_name, guest->name, guest);
}

void guests_remove(struct guests *guests, struct guest *guest)
{
	if (!guest->listed)
		return;
	guest->listed = false;
	g_hash_table_remove(guests->by_name, guest->name);
	g_hash_table_remove(guests->by_uuid, guest->uuid_text);
	guest_unref(guest);
}

void guests_rename(struct guests *guests, struct guest *guest, char *name)
{
	g_hash_table_remove(guests->by_name, guest->name);
	g_free(guest->name);
	guest->name = name;
	g_hash_table_insert(guests->by_name, guest->name, guest);
}

struct guest *guests_find_uuid(const struct guests *guests, const u8 uuid[UUID_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	char text[37], *at = text;

	for (unsigned i = 0; i < UUID_BYTES; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[uuid[i] >> 4];
		*at++ = digits[uuid[i] & 15];
	}
	*at = '\0';
	return g_hash_table_lookup(guests->by_uuid, text);
}

struct guest *guests_find_name(const struct guests *guests, const char *name)
{
	return g_hash_table_lookup(guests->by_name, name);
}

struct guest *guests_find_id(const struct guests *guests, int id)
{
	GHashTableIter iter;
	gpointer guest;

	g_hash_table_iter_init(&iter, guests->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &guest))
		if (id >= 0 && ((struct guest *)guest)->id == id)
			return guest;
	return NULL;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
	const struct guest *one = *(struct guest *const *)a, *two = *(struct guest *const *)b;

	return strcmp(one->name, two->name);
}

GPtrArray *guests_all(const struct guests *guests)
{
	GPtrArray *all = g_ptr_array_sized_new(g_hash_table_size(guests->by_uuid));
	GHashTableIter iter;
	gpointer guest;

	g_hash_table_iter_init(&iter, guests->by_uuid);
	while (g_hash_table_iter_next(&iter, NULL, &guest))
		g_ptr_array_add(all, guest);
	g_ptr_array_sort(all, compare_names);
	return all;
}

unsigned guests_count(const struct guests *guests)
{
	return g_hash_table_size(guests->by_uuid);
}

int guests_next_id(struct guests *guests)
{
	return ++guests->last_id;
}

/* --- loading --- */

static int compare_strings(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names in a directory, sorted; the caller unrefs the array. */
static GPtrArray *list_directory(const char *path)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	GDir *dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir)))
		g_ptr_array_add(names, g_strdup(name));
	if (dir)
		g_dir_close(dir);
	g_ptr_array_sort(names, compare_strings);
	return names;
}

static void load_definition(struct guests *guests, const char *file)
{
	g_autofree char *path = g_build_filename(guests->daemon->places.domains, file, NULL);
	GError *error = NULL;
	struct launch_authority *definer = NULL;
	struct domain *domain;
	struct guest *guest;

	if (!g_str_has_suffix(file, ".xml"))
		return;
	domain = definition_read(path, &definer, &error);
	if (!domain || !domain_complete(domain, &error)) {
		log_error("lodged", "%s is left alone: %s", path, error->message);
		g_error_free(error);
		domain_free(domain);
		authority_free(definer);
		return;
	}
	guest = guest_new(guests->daemon, domain);
	if (guests_find_uuid(guests, guest->uuid) || guests_find_name(guests, guest->name)) {
		log_error("lodged", "%s is left alone: its name or its uuid is another guest's",
			  path);
		domain_free(domain);
	} else {
		g_free(domain->file);
		domain->file = g_strdup(guest->name);
		domain_fold(domain);
		guest->config = domain;
		guest->definer = g_steal_pointer(&definer);
		guests_add(guests, guest);
	}
	authority_free(definer);
	guest_unref(guest);
}

static void load_mark(struct guests *guests, const char *uuid)
{
	g_autofree char *path = g_build_filename(guests->daemon->places.autostart, uuid, NULL);
	struct guest *guest = g_hash_table_lookup(guests->by_uuid, uuid);
	g_autofree char *text = NULL;

	if (!guest)
		return;
	guest->autostart = g_file_get_contents(path, &text, NULL, NULL) &&
			   authority_read(text, &guest->marked_by);
	if (!guest->autostart) /* not with an authority that nobody has given */
		log_about(LOG_ERROR, "lodged", guest->name,
			  "guest %s does not start by itself: %s does not say for whom",
			  guest->name, path);
}

/* The guest that @live is of: a known one, or a new one without a definition. NULL: it is neither.
 */
static struct guest *guest_of(struct guests *guests, const struct domain *live)
{
	struct guest *fresh = guest_new(guests->daemon, live), *known;

	known = guests_find_uuid(guests, fresh->uuid);
	if (!known && !guests_find_name(guests, fresh->name))
		return fresh;
	guest_unref(fresh);
	return known && !strcmp(known->name, live->name) ? guest_ref(known) : NULL;
}

/* Takes over @live. False: it does not run any more. */
static bool take_over(struct guest *guest, struct domain *live, int id)
{
	guest->live = live;
	guest->id = id;
	guest->state = VIR_DOMAIN_RUNNING;
	guest->reason = VIR_DOMAIN_RUNNING_UNKNOWN;
	if (guest->driver->adopt(guest))
		return true;
	g_clear_pointer(&guest->live, domain_free);
	guest->id = -1;
	guest->state = VIR_DOMAIN_SHUTOFF;
	guest->reason = VIR_DOMAIN_SHUTOFF_UNKNOWN;
	return false;
}

static void load_running(struct guests *guests, const char *file)
{
	g_autofree char *path = g_build_filename(guests->daemon->places.running, file, NULL);
	GError *error = NULL;
	struct domain *live = NULL;
	struct guest *guest;
	int id = -1;

	live = running_read(path, &id, &error);
	guest = live ? guest_of(guests, live) : NULL;
	guests->last_id = MAX(guests->last_id, id);
	if (!guest) {
		log_error("lodged", "the record of a running guest, %s, is left alone: %s", path,
			  error ? error->message : "its name or its uuid is another guest's");
		domain_free(live);
		g_clear_error(&error);
		return;
	}
	if (guest_is_active(guest)) { /* by a later record */
		store_remove(guests->daemon->store, path, NULL, NULL);
		domain_free(live);
	} else if (take_over(guest, live, id)) {
		log_about(LOG_INFO, "lodged", guest->name, "guest %s, number %d, is taken over",
			  guest->name, id);
		if (!guest->listed)
			guests_add(guests, guest);
		restraint_started(guest);
	} else {
		log_about(LOG_INFO, "lodged", guest->name,
			  "guest %s has ended while no lodged was there", guest->name);
		store_remove(guests->daemon->store, path, NULL, NULL);
	}
	guest_unref(guest);
}

/* What a lodged that was killed while it prepared a start has left: nothing runs there. */
static void sweep(struct guests *guests, const char *name)
{
	const struct guest *guest = guests_find_name(guests, name);
	const char *directory = guests->daemon->places.guests;
	g_autofree char *monitor = NULL;
	pid_t pid;

	if (guest && guest_is_active(guest))
		return;
	if (launch_find(directory, name, &pid, &monitor) == LAUNCH_ENDED)
		launch_sweep(directory, name);
	else
		log_error("lodged", "process %d runs in %s/%s, and no record says what it is", pid,
			  directory, name);
}

static void each(struct guests *guests, const char *directory, bool backwards,
		 void (*load)(struct guests *guests, const char *file))
{
	GPtrArray *names = list_directory(directory);

	for (guint i = 0; i < names->len; i++)
		load(guests, names->pdata[backwards ? names->len - 1 - i : i]);
	g_ptr_array_unref(names);
}

void guests_load(struct guests *guests)
{
	const struct places *p = &guests->daemon->places;

	store_sweep(p->domains);
	store_sweep(p->autostart);
	store_sweep(p->running);
	each(guests, p->domains, false, load_definition);
	each(guests, p->autostart, false, load_mark);
	each(guests, p->running, true, load_running); /* of two of one guest, the later first */
	each(guests, p->guests, false, sweep);
}

/* --- autostart --- */

static void say_start_failed(struct guest *guest, const GError *error, void *opaque)
{
	if (error)
		log_about(LOG_ERROR, "lodged", guest->name, "guest %s does not start: %s",
			  guest->name, error->message);
}

/* Has this been done since the host started? Notes that it is now. */
static bool host_was_seen(const struct daemon *daemon)
{
	g_autofree char *path = g_build_filename(daemon->places.run, "autostarted", NULL);
	g_autofree char *before = NULL, *now = NULL;
	bool seen;

	if (!g_file_get_contents(BOOT_ID, &now, NULL, NULL))
		return false;
	seen = g_file_get_contents(path, &before, NULL, NULL) && !strcmp(before, now);
	if (!seen)
		store_write_now(daemon->store, path, now, NULL);
	return seen;
}

void guests_autostart(struct guests *guests)
{
	GPtrArray *all;

	if (host_was_seen(guests->daemon))
		return;
	all = guests_all(guests);
	for (guint i = 0; i < all->len; i++) {
		struct guest *guest = all->pdata[i];
		GError *error = NULL;

		if (!guest->autostart || guest_is_active(guest) ||
		    guest_start(guest, guest->marked_by, false, say_start_failed, NULL, &error))
			continue;
		say_start_failed(guest, error, NULL);
		g_error_free(error);
	}
	g_ptr_array_unref(all);
}

void guests_free(struct guests *guests)
{
	GPtrArray *all;

	if (!guests)
		return;
	all = guests_all(guests);
	for (guint i = 0; i < all->len; i++) {
		struct guest *guest = all->pdata[i];

		if (guest->run)
			guest->driver->leave(guest);
		guests_remove(guests, guest);
	}
	g_ptr_array_unref(all);
	g_hash_table_unref(guests->by_uuid);
	g_hash_table_unref(guests->by_name);
	g_free(guests);
}
