/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions: from a client's XML to what is kept. Memory has a new definition at once, and goes
 * back to the old one if the disk will not take it; until that is known, the definition of that
 * guest is not changed again.
 */
#include "base/log.h"
#include "daemon/guest.h"
#include "daemon/store.h"
#include "domain/xml.h"
#include "rpc_constants.h"

#include <string.h>

struct change {
	struct guest *guest;
	struct domain *before;              /* of a definition: what was defined, or NULL */
	struct launch_authority *before_by; /* and by whom */
	bool autostart;
	struct launch_authority *by; /* who wants it to start by itself */
	guest_done *done;
	void *opaque;
};

static char *file_of(const char *directory, const struct guest *guest, const char *suffix)
{
	g_autofree char *file = g_strconcat(guest->uuid_text, suffix, NULL);

	return g_build_filename(directory, file, NULL);
}

static struct change *begin(struct guest *guest, guest_done *done, void *opaque)
{
	struct change *change = g_new0(struct change, 1);

	change->guest = guest_ref(guest);
	change->done = done;
	change->opaque = opaque;
	return change;
}

static void end(struct change *change, const GError *error)
{
	if (change->done)
		change->done(change->guest, error, change->opaque);
	domain_free(change->before);
	authority_free(change->by);
	authority_free(change->before_by);
	guest_unref(change->guest);
	g_free(change);
}

/* --- in whose name --- */

char *definition_write(const char *text, const struct launch_authority *definer)
{
	return authority_mark(g_strdup(text), definer);
}

struct domain *definition_read(const char *path, struct launch_authority **definer, GError **error)
{
	g_autofree char *text = NULL;
	gsize length;

	*definer = NULL;
	if (!g_file_get_contents(path, &text, &length, error))
		return NULL;
	if (!authority_unmark(text, &length, definer)) {
		daemon_refuse(error, 0, "%s does not say in whose name it is", path);
		return NULL;
	}
	return domain_parse(text, length, path, NULL, error);
}

const struct launch_authority *define_whose(const struct guest *guest,
					    const struct launch_authority *by)
{
	return by ? by : guest->definer;
}

/* --- reading --- */

struct domain *define_read(const char *xml, GError **error)
{
	struct domain *domain = domain_parse_complete(xml, strlen(xml), "domain XML", error);

	if (!domain)
		return NULL;
	/* the number of a running guest, from its live XML, says nothing about the next start */
	xml_unset(xmlDocGetRootElement(domain->doc), "id");
	g_free(domain->file);
	domain->file = g_strdup(domain->name);
	return domain;
}

/* The guest that @domain is of: a known one, or a new one. NULL with @error set: names collide. */
static struct guest *find_or_make(struct daemon *daemon, const struct domain *domain,
				  GError **error)
{
	struct guest *fresh = guest_new(daemon, domain);
	struct guest *same = guests_find_uuid(daemon->guests, fresh->uuid);
	struct guest *named = guests_find_name(daemon->guests, fresh->name);

	if (same && same == named) {
		guest_unref(fresh);
		return guest_ref(same);
	}
	if (!same && !named) {
		if (guests_count(daemon->guests) < GUESTS_MAX)
			return fresh;
		daemon_refuse(error, VIR_ERR_OPERATION_FAILED,
			      "there are %d domains already, which is as many as there can be",
			      GUESTS_MAX);
	} else if (same) {
		daemon_refuse(error, VIR_ERR_OPERATION_FAILED,
			      "operation failed: domain '%s' is already defined with uuid %s",
			      same->name, same->uuid_text);
	} else {
		daemon_refuse(error, VIR_ERR_OPERATION_FAILED,
			      "operation failed: domain '%s' already exists with uuid %s",
			      named->name, named->uuid_text);
	}
	guest_unref(fresh);
	return NULL;
}

static bool may_change(const struct guest *guest, GError **error)
{
	return !guest->saving ||
	       daemon_refuse(error, VIR_ERR_RESOURCE_BUSY,
			     "the definition of domain '%s' is just being changed; try again",
			     guest->name);
}

/* --- define --- */

static void defined(const GError *error, void *opaque)
{
	struct change *change = opaque;
	struct guest *guest = change->guest;

	guest->saving = false;
	if (!error) {
		events_lifecycle(guest, VIR_DOMAIN_EVENT_DEFINED,
				 change->before ? VIR_DOMAIN_EVENT_DEFINED_UPDATED
						: VIR_DOMAIN_EVENT_DEFINED_ADDED);
		g_clear_pointer(&guest->given, domain_free);
	} else {
		domain_free(guest->config);
		guest->config = change->before;
		change->before = NULL;
		authority_free(guest->definer);
		guest->definer = g_steal_pointer(&change->before_by);
		if (!guest->config && !guest_is_active(guest))
			guests_remove(guest->daemon->guests, guest);
	}
	end(change, error);
}

struct guest *define_guest(struct daemon *daemon, struct domain *domain,
			   const struct launch_authority *by, guest_done *done, void *opaque,
			   GError **error)
{
	struct guest *guest = find_or_make(daemon, domain, error);
	g_autofree char *path = NULL;
	struct change *change;
	char *text;

	if (!guest || !may_change(guest, error)) {
		domain_free(domain);
		if (guest)
			guest_unref(guest);
		return NULL;
	}
	if (!guest->listed)
		guests_add(daemon->guests, guest);
	change = begin(guest, done, opaque);
	change->before = guest->config;
	change->before_by = guest->definer;
	guest->config = domain;
	guest->definer = authority_copy(by);
	guest->saving = true;
	path = file_of(daemon->places.domains, guest, ".xml");
	text = domain_format(domain);
	store_write(daemon->store, path, definition_write(text, by), defined, change);
	domain_fold_as(domain, text); /* while the disk is busy with it */
	guest_unref(guest);           /* the registry has it */
	return guest;
}

struct guest *define_transient(struct daemon *daemon, struct domain *domain, GError **error)
{
	struct guest *guest = find_or_make(daemon, domain, error);

	if (guest && guest_is_active(guest)) {
		daemon_refuse(error, VIR_ERR_OPERATION_INVALID,
			      "Requested operation is not valid: domain '%s' is already running",
			      guest->name);
		g_clear_pointer(&guest, guest_unref);
	}
	if (!guest) {
		domain_free(domain);
		return NULL;
	}
	domain_free(guest->given);
	guest->given = domain;
	if (!guest->listed)
		guests_add(daemon->guests, guest);
	guest_unref(guest);
	return guest;
}

void define_give_up(struct guest *guest)
{
	if (guest->config)
		g_clear_pointer(&guest->given, domain_free);
	else
		guests_remove(guest->daemon->guests, guest);
}

struct domain *define_copy(const struct domain *domain, GError **error)
{
	g_autofree char *xml = domain_format(domain);

	return domain_parse(xml, strlen(xml), domain->file, NULL, error);
}

struct domain *define_live_again(struct domain *changed, GError **error)
{
	struct domain *again = define_copy(changed, error);

	domain_free(changed);
	return again;
}

struct domain *define_again(struct domain *changed, GError **error)
{
	struct domain *again = define_live_again(changed, error);

	if (again && domain_complete(again, error))
		return again;
	domain_free(again);
	return NULL;
}

/* --- another name --- */

static void renamed(const GError *error, void *opaque)
{
	struct change *change = opaque;
	struct guest *guest = change->guest;

	guest->saving = false;
	if (error) {
		domain_free(guest->config);
		guest->config = change->before;
		change->before = NULL;
		authority_free(guest->definer);
		guest->definer = g_steal_pointer(&change->before_by);
		guests_rename(guest->daemon->guests, guest, g_strdup(guest->config->name));
	} else {
		events_lifecycle(guest, VIR_DOMAIN_EVENT_DEFINED, VIR_DOMAIN_EVENT_DEFINED_RENAMED);
	}
	end(change, error);
}

static bool may_rename(const struct guest *guest, const char *name, GError **error)
{
	if (!guest->config || guest_is_active(guest))
		return daemon_refuse(
			error, VIR_ERR_OPERATION_INVALID,
			"Requested operation is not valid: cannot rename %s domain '%s'",
			guest->config ? "active" : "transient", guest->name);
	if (guests_find_name(guest->daemon->guests, name))
		return daemon_refuse(
			error, VIR_ERR_OPERATION_INVALID,
			"Requested operation is not valid: domain with name '%s' already "
			"exists",
			name);
	return may_change(guest, error);
}

bool define_rename(struct guest *guest, const char *name, const struct launch_authority *by,
		   guest_done *done, void *opaque, GError **error)
{
	g_autofree char *path = file_of(guest->daemon->places.domains, guest, ".xml");
	struct change *change;
	struct domain *copy;
	char *text;

	if (!may_rename(guest, name, error))
		return false;
	copy = define_copy(guest->config, error);
	if (!copy)
		return false;
	xml_set_text(xml_child(xmlDocGetRootElement(copy->doc), "name"), name);
	copy = define_again(copy, error);
	if (!copy)
		return false;
	g_free(copy->file);
	copy->file = g_strdup(copy->name);
	events_lifecycle(guest, VIR_DOMAIN_EVENT_UNDEFINED, VIR_DOMAIN_EVENT_UNDEFINED_RENAMED);
	change = begin(guest, done, opaque);
	change->before = guest->config;
	change->before_by = guest->definer;
	guest->config = copy;
	guest->definer = authority_copy(define_whose(guest, by));
	guest->saving = true;
	guests_rename(guest->daemon->guests, guest, g_strdup(copy->name));
	text = domain_format(copy);
	store_write(guest->daemon->store, path, definition_write(text, guest->definer), renamed,
		    change);
	domain_fold_as(copy, text);
	return true;
}

/* --- undefine --- */

static void undefined(const GError *error, void *opaque)
{
	struct change *change = opaque;
	struct guest *guest = change->guest;

	guest->saving = false;
	if (!error) {
		g_clear_pointer(&guest->config, domain_free);
		guest->autostart = false;
		events_lifecycle(guest, VIR_DOMAIN_EVENT_UNDEFINED,
				 VIR_DOMAIN_EVENT_UNDEFINED_REMOVED);
		if (!guest_is_active(guest))
			guests_remove(guest->daemon->guests, guest);
	}
	end(change, error);
}

bool undefine_guest(struct guest *guest, guest_done *done, void *opaque, GError **error)
{
	const struct places *p = &guest->daemon->places;
	g_autofree char *path = file_of(p->domains, guest, ".xml");
	g_autofree char *mark = file_of(p->autostart, guest, "");

	if (!may_change(guest, error))
		return false;
	if (!guest->config)
		return daemon_refuse(
			error, VIR_ERR_OPERATION_INVALID,
			"Requested operation is not valid: cannot undefine transient domain "
			"'%s'",
			guest->name);
	guest->saving = true;
	if (guest->autostart)
		store_remove(guest->daemon->store, mark, NULL, NULL);
	store_remove(guest->daemon->store, path, undefined, begin(guest, done, opaque));
	return true;
}

/* --- autostart --- */

static void marked(const GError *error, void *opaque)
{
	struct change *change = opaque;

	if (!error) {
		change->guest->autostart = change->autostart;
		authority_free(change->guest->marked_by);
		change->guest->marked_by = g_steal_pointer(&change->by);
	}
	end(change, error);
}

void define_autostart(struct guest *guest, bool autostart, const struct launch_authority *by,
		      guest_done *done, void *opaque)
{
	g_autofree char *mark = file_of(guest->daemon->places.autostart, guest, "");
	struct change *change = begin(guest, done, opaque);

	change->autostart = autostart;
	change->by = autostart ? authority_copy(by) : NULL;
	if (autostart)
		store_write(guest->daemon->store, mark, authority_write(by), marked, change);
	else
		store_remove(guest->daemon->store, mark, marked, change);
}
