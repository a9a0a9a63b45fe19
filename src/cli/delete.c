/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lodge delete: a guest with its definition and its disks. It says what goes, and asks. Disks go
 * through the daemon, as volumes of their pools; what is in no pool, what others may use
 * (read-only, shared, removable), and what another guest has, by its definition or while it runs,
 * stays.
 */
#include "cli/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct disks {
	GPtrArray *paths;    /* of files that are the guest's own */
	GPtrArray *rest;     /* of all others that it uses, as its kernel and backing files */
	GHashTable *targets; /* "vda" -> the path of that disk; or NULL */
	/* while reading: */
	bool in_disk, own, in_boot, passed;
	char *path, *target;
};

static const char *value_of(const char *name, const char **names, const char **values)
{
	for (unsigned i = 0; names[i]; i++)
		if (!strcmp(names[i], name))
			return values[i];
	return NULL;
}

/* The first is the disk's own, and others are what it is a change of. A file that is passed has no
 * path: that is only a name. */
static void take_source(struct disks *disks, const char *path, const char *fd_group)
{
	if (disks->path && path)
		g_ptr_array_add(disks->rest, g_strdup(path));
	else if (!disks->passed && !fd_group)
		disks->path = g_strdup(path);
	disks->passed = disks->passed || fd_group;
}

static void on_start(GMarkupParseContext *context, const char *element, const char **names,
		     const char **values, gpointer opaque, GError **error)
{
	struct disks *disks = opaque;
	const char *device = value_of("device", names, values);

	disks->in_boot = !strcmp(element, "kernel") || !strcmp(element, "initrd");
	if (disks->in_disk && !strcmp(element, "target")) {
		g_free(disks->target);
		disks->target = g_strdup(value_of("dev", names, values));
	}
	if (!strcmp(element, "disk")) {
		disks->in_disk = true;
		disks->passed = false;
		disks->own = !device || !strcmp(device, "disk");
	} else if (disks->in_disk && !strcmp(element, "source")) {
		take_source(disks,
			    value_of("file", names, values) ?: value_of("dev", names, values),
			    value_of("fdgroup", names, values));
	} else if (disks->in_disk &&
		   (!strcmp(element, "readonly") || !strcmp(element, "shareable"))) {
		disks->own = false;
	}
}

static void on_end(GMarkupParseContext *context, const char *element, gpointer opaque,
		   GError **error)
{
	struct disks *disks = opaque;

	disks->in_boot = false;
	if (strcmp(element, "disk"))
		return;
	if (disks->targets && disks->path && disks->target)
		g_hash_table_insert(disks->targets, g_strdup(disks->target), g_strdup(disks->path));
	if (disks->path)
		g_ptr_array_add(disks->own ? disks->paths : disks->rest,
				g_steal_pointer(&disks->path));
	g_clear_pointer(&disks->path, g_free);
	g_clear_pointer(&disks->target, g_free);
	disks->in_disk = false;
}

static void on_text(GMarkupParseContext *context, const char *text, gsize n, gpointer opaque,
		    GError **error)
{
	struct disks *disks = opaque;

	if (disks->in_boot)
		g_ptr_array_add(disks->rest, g_strndup(text, n));
}

/* What the XML that @flags ask for has, beside what is in @disks; false: the library has the error.
 */
static bool read_disks(struct lodge_domain *domain, unsigned flags, struct disks *disks)
{
	static const GMarkupParser parser = { .start_element = on_start,
					      .end_element = on_end,
					      .text = on_text };
	char *xml = lodge_domain_xml(domain, flags);
	GMarkupParseContext *context = g_markup_parse_context_new(&parser, 0, disks, NULL);

	if (xml)
		g_markup_parse_context_parse(context, xml, -1, NULL);
	g_markup_parse_context_free(context);
	free(xml);
	return xml;
}

static void disks_init(struct disks *disks)
{
	*disks = (struct disks){ .paths = g_ptr_array_new_with_free_func(g_free),
				 .rest = g_ptr_array_new_with_free_func(g_free) };
}

static void disks_clear(struct disks *disks)
{
	g_ptr_array_unref(disks->paths);
	g_ptr_array_unref(disks->rest);
	g_free(disks->path);
	g_free(disks->target);
	if (disks->targets)
		g_hash_table_unref(disks->targets);
}

/* --- other guests --- */

/* One name of the file, by links that lead to it, if the daemon's files are this host's. */
static char *one_name(const char *path)
{
	char *real = realpath(path, NULL), *copy = real ? g_strdup(real) : NULL;

	free(real);
	return copy ? copy : g_canonicalize_filename(path, "/");
}

static void add_users(GHashTable *users, const GPtrArray *paths, const char *guest)
{
	for (unsigned i = 0; i < paths->len; i++)
		g_hash_table_insert(users, one_name(paths->pdata[i]), g_strdup(guest));
}

static bool add_guest(GHashTable *users, struct lodge_domain *domain)
{
	const struct lodge_error *error;
	struct disks disks;
	bool good;

	disks_init(&disks);
	/* what it runs with, and what it will */
	good = read_disks(domain, 0, &disks) && read_disks(domain, LODGE_XML_INACTIVE, &disks);
	add_users(users, disks.paths, lodge_domain_name(domain));
	add_users(users, disks.rest, lodge_domain_name(domain));
	disks_clear(&disks);
	error = lodge_last_error();
	return good || error->code == LODGE_ERR_NO_DOMAIN; /* it has just gone */
}

/* Who has which file: path -> name, of all guests but @domain. NULL: the library has the error. */
static GHashTable *find_users(struct lodge_connection *c, const struct lodge_domain *domain)
{
	GHashTable *users = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	struct lodge_domain **all = lodge_domain_list(c, 0);
	bool good = all;

	for (unsigned i = 0; all && all[i] && good; i++)
		if (strcmp(lodge_domain_name(all[i]), lodge_domain_name(domain)))
			good = add_guest(users, all[i]);
	lodge_domains_free(all);
	if (!good)
		g_clear_pointer(&users, g_hash_table_unref);
	return users;
}

/* Has another guest the volume at @path? Then it is said who. */
static bool is_used(GHashTable *users, const char *path, const struct lodge_volume *volume)
{
	g_autofree char *name = one_name(path);
	const char *user = g_hash_table_lookup(users, name);

	if (user)
		printf("stays:   the volume %s of the pool %s, which guest '%s' has, too\n",
		       lodge_volume_name(volume), lodge_volume_pool_name(volume), user);
	return user;
}

/* The volumes of a guest that `lodge create` names after it: kernel, initial RAM disk, seed. */
static void add_made(struct lodge_connection *c, struct lodge_domain *domain,
		     const GPtrArray *paths, GHashTable *users, GPtrArray *volumes)
{
	static const char *const suffixes[] = { "-vmlinuz", "-initrd", "-seed.iso", ".iso" };

	for (unsigned i = 0; i < paths->len; i++) {
		struct lodge_volume *volume = lodge_volume_by_path(c, paths->pdata[i], 0);
		bool made = false;

		for (unsigned n = 0; volume && n < G_N_ELEMENTS(suffixes); n++) {
			g_autofree char *name =
				g_strconcat(lodge_domain_name(domain), suffixes[n], NULL);

			made = made || !strcmp(lodge_volume_name(volume), name);
		}
		if (made && !is_used(users, paths->pdata[i], volume))
			g_ptr_array_add(volumes, volume);
		else
			lodge_volume_free(volume);
	}
}

static void add_own(struct lodge_connection *c, const GPtrArray *paths, GHashTable *users,
		    GPtrArray *volumes)
{
	for (unsigned i = 0; i < paths->len; i++) {
		const char *path = paths->pdata[i];
		struct lodge_volume *volume = lodge_volume_by_path(c, path, 0);

		if (volume && !is_used(users, path, volume)) {
			g_ptr_array_add(volumes, volume);
			continue;
		}
		if (!volume)
			printf("stays:   %s, which is in no storage pool\n", path);
		lodge_volume_free(volume);
	}
}

GPtrArray *delete_find_volumes(struct lodge_connection *c, struct lodge_domain *domain)
{
	GHashTable *users = find_users(c, domain);
	GPtrArray *volumes = NULL;
	struct disks disks;

	disks_init(&disks);
	if (users && read_disks(domain, LODGE_XML_INACTIVE, &disks)) {
		volumes = g_ptr_array_new_with_free_func((GDestroyNotify)lodge_volume_free);
		add_own(c, disks.paths, users, volumes);
		add_made(c, domain, disks.rest, users, volumes);
	}
	disks_clear(&disks);
	if (users)
		g_hash_table_unref(users);
	return volumes;
}

/* The path of the disk of that target or path; NULL: there is none, which has been said. */
static const char *find_disk(const struct disks *disks, const char *name)
{
	GHashTableIter each;
	const char *path = g_hash_table_lookup(disks->targets, name);
	void *value;

	g_hash_table_iter_init(&each, disks->targets);
	while (!path && g_hash_table_iter_next(&each, NULL, &value))
		if (!strcmp(value, name))
			path = value;
	if (!path)
		fprintf(stderr,
			"lodge undefine: the guest has no disk '%s'; see lodge domblklist\n", name);
	return path;
}

/* False: it has been said why one of them cannot be deleted. */
static bool add_listed(struct lodge_connection *c, const struct disks *disks, const char *list,
		       GHashTable *users, GPtrArray *volumes)
{
	g_auto(GStrv) names = g_strsplit(list, ",", -1);

	for (unsigned i = 0; names[i]; i++) {
		const char *path = find_disk(disks, names[i]);
		struct lodge_volume *volume = path ? lodge_volume_by_path(c, path, 0) : NULL;

		if (path && !volume)
			fprintf(stderr, "lodge undefine: %s is in no storage pool\n", path);
		if (!volume)
			return false;
		if (is_used(users, path, volume))
			lodge_volume_free(volume);
		else
			g_ptr_array_add(volumes, volume);
	}
	return true;
}

GPtrArray *delete_find_listed(struct lodge_connection *c, struct lodge_domain *domain,
			      const char *list, bool *said)
{
	GHashTable *users = find_users(c, domain);
	GPtrArray *volumes = NULL;
	struct disks disks;

	*said = false;
	disks_init(&disks);
	disks.targets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	if (users && read_disks(domain, LODGE_XML_INACTIVE, &disks)) {
		volumes = g_ptr_array_new_with_free_func((GDestroyNotify)lodge_volume_free);
		*said = !add_listed(c, &disks, list, users, volumes);
		if (*said)
			g_clear_pointer(&volumes, g_ptr_array_unref);
	}
	disks_clear(&disks);
	if (users)
		g_hash_table_unref(users);
	return volumes;
}

/* No, unless somebody at a terminal says yes. */
static bool confirmed(const struct invocation *invocation)
{
	char answer[16] = "";

	if (invocation_has(invocation, "--yes"))
		return true;
	if (!isatty(STDIN_FILENO)) {
		fprintf(stderr,
			"lodge: nothing is deleted: there is nobody to ask; --yes does it\n");
		return false;
	}
	printf("Delete it? [y/N] ");
	fflush(stdout);
	if (fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y'))
		return true;
	fprintf(stderr, "lodge: nothing is deleted\n");
	return false;
}

static bool delete_all(struct lodge_domain *domain, const GPtrArray *volumes, bool runs,
		       bool persistent)
{
	if (runs && lodge_domain_destroy(domain, 0))
		return false;
	if (persistent && lodge_domain_undefine(domain, 0))
		return false;
	for (unsigned i = 0; i < volumes->len; i++)
		if (lodge_volume_delete(volumes->pdata[i], 0))
			return false;
	printf("Guest '%s' has been deleted\n", lodge_domain_name(domain));
	return true;
}

static int delete (const struct invocation *invocation)
{
	struct lodge_connection *c = daemon_connect(invocation, 0);
	struct lodge_domain *domain = daemon_domain(c, invocation);
	int runs = domain ? lodge_domain_is_active(domain) : -1;
	int persistent = domain ? lodge_domain_is_persistent(domain) : -1;
	bool known = runs >= 0 && persistent >= 0, shown = false, asked = false, good = false;
	GPtrArray *volumes = NULL;

	if (known)
		volumes = invocation_has(invocation, "--keep-disks")
				  ? g_ptr_array_new()
				  : delete_find_volumes(c, domain);
	shown = volumes;
	if (shown) {
		printf("goes:    the guest '%s'%s\n", lodge_domain_name(domain),
		       runs ? ", which runs" : "");
		for (unsigned i = 0; i < volumes->len; i++)
			printf("goes:    the volume %s of the pool %s\n",
			       lodge_volume_name(volumes->pdata[i]),
			       lodge_volume_pool_name(volumes->pdata[i]));
		asked = confirmed(invocation);
		good = asked && delete_all(domain, volumes, runs, persistent);
		g_ptr_array_unref(volumes);
	}
	lodge_domain_free(domain);
	if (shown && !asked) { /* it has been said why nothing is done */
		lodge_connection_free(c);
		return 1;
	}
	return daemon_end(c, good);
}

static const struct command_option options[] = {
	{ "--keep-disks", VALUE_NONE, NULL, "its definition only" },
	{ "--yes", VALUE_NONE, NULL, "do not ask" },
	CONNECT_OPTION,
	{},
};

const struct command commands_delete[] = {
	{ .name = "delete",
	  .arguments = "GUEST",
	  .kind = ARGUMENT_GUEST,
	  .arguments_min = 1,
	  .arguments_max = 1,
	  .summary = "delete a guest and its disks",
	  .description = "Says what goes and asks: the guest, which is ended if it runs, its "
			 "definition, and those of\n"
			 "its disks that are volumes of storage pools and that no other guest has "
			 "or is meant to use; "
			 "also the kernel and the seed that 'lodge create' has made for it.",
	  .options = options,
	  .action = delete },
	{},
};
