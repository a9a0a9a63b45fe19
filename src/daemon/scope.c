/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See scope.h. The interface is org.freedesktop.systemd1(5). */
#include "daemon/scope.h"

#include "base/log_sink.h"
#include "daemon/activation.h"

#include <gio/gio.h>
#include <string.h>

#define SYSTEMD    "org.freedesktop.systemd1"
#define OBJECT     "/org/freedesktop/systemd1"
#define MANAGER    SYSTEMD ".Manager"
#define ASK_MS     5000
#define NAME_BYTES 200         /* of a guest's name, escaped: a unit's has 255 at most */
#define WEIGHT_MAX 10000       /* of a cgroup */
#define NO_WEIGHT  G_MAXUINT64 /* its default */
#define STOP_USEC  10000000    /* of what is left of a guest when lodged has ended */

/* --- asking --- */

/* A call that goes out when the bus is there. */
struct asking {
	char *interface, *method;
	GVariant *parameters;
	void (*done)(GVariant *reply, const GError *error, void *opaque);
	void *opaque;
};

static void end(struct asking *asking, GVariant *reply, GError *error)
{
	asking->done(reply, error, asking->opaque);
	if (reply)
		g_variant_unref(reply);
	g_clear_error(&error);
	g_variant_unref(asking->parameters);
	g_free(asking->interface);
	g_free(asking->method);
	g_free(asking);
}

static void on_reply(GObject *bus, GAsyncResult *result, gpointer opaque)
{
	GError *error = NULL;
	GVariant *reply = g_dbus_connection_call_finish(G_DBUS_CONNECTION(bus), result, &error);

	end(opaque, reply, error);
}

static void on_bus(GObject *source, GAsyncResult *result, gpointer opaque)
{
	struct asking *asking = opaque;
	GError *error = NULL;
	GDBusConnection *bus = g_bus_get_finish(result, &error);

	if (!bus) {
		end(asking, NULL, error);
		return;
	}
	g_dbus_connection_set_exit_on_close(bus, FALSE);
	g_dbus_connection_call(bus, SYSTEMD, OBJECT, asking->interface, asking->method,
			       asking->parameters, NULL, G_DBUS_CALL_FLAGS_NONE, ASK_MS, NULL,
			       on_reply, asking);
	g_object_unref(bus);
}

static void ask(const struct daemon *daemon, const char *interface, const char *method,
		GVariant *parameters,
		void (*done)(GVariant *reply, const GError *error, void *opaque), void *opaque)
{
	struct asking *asking = g_new0(struct asking, 1);

	*asking = (struct asking){ g_strdup(interface), g_strdup(method),
				   g_variant_ref_sink(parameters), done, opaque };
	g_bus_get(daemon->places.kind == PLACES_SESSION ? G_BUS_TYPE_SESSION : G_BUS_TYPE_SYSTEM,
		  NULL, on_bus, asking);
}

/* --- scopes --- */

/* As systemd.unit(5) escapes names. */
static char *escape(const char *name)
{
	GString *text = g_string_new(NULL);

	for (; *name && text->len < NAME_BYTES; name++)
		if (g_ascii_isalnum(*name) || *name == '_' || (*name == '.' && text->len))
			g_string_append_c(text, *name);
		else
			g_string_append_printf(text, "\\x%02x", (u8)*name);
	return g_string_free(text, FALSE);
}

static void add(GVariantBuilder *properties, const char *name, GVariant *value)
{
	g_variant_builder_add(properties, "(sv)", name, value);
}

static GVariant *scope_parameters(const struct guest *guest, const char *unit, const pid_t *pids,
				  unsigned count)
{
	const char *before = "lodged.service";
	g_autofree char *title = g_strdup_printf("Guest %s", guest->name);
	GVariantBuilder numbers, properties;

	g_variant_builder_init(&numbers, G_VARIANT_TYPE("au"));
	for (unsigned i = 0; i < count; i++)
		g_variant_builder_add(&numbers, "u", (guint32)pids[i]);
	g_variant_builder_init(&properties, G_VARIANT_TYPE("a(sv)"));
	add(&properties, "Description", g_variant_new_string(title));
	add(&properties, "PIDs", g_variant_builder_end(&numbers));
	if (guest->daemon->places.kind != PLACES_SESSION)
		add(&properties, "Slice", g_variant_new_string("machine.slice"));
	/* groups in it are ours to make (restraint.h) */
	add(&properties, "Delegate", g_variant_new_boolean(TRUE));
	/* when the host goes down, lodged powers guests down first */
	add(&properties, "Before", g_variant_new_strv(&before, 1));
	add(&properties, "TimeoutStopUSec", g_variant_new_uint64(STOP_USEC));
	add(&properties, "CollectMode", g_variant_new_string("inactive-or-failed"));
	return g_variant_new("(ssa(sv)@a(sa(sv)))", unit, "fail", &properties,
			     g_variant_new_array(G_VARIANT_TYPE("(sa(sv))"), NULL, 0));
}

static char *scope_name(const struct guest *guest)
{
	g_autofree char *escaped = escape(guest->name);

	return g_strdup_printf("lodge-%d-%s.scope", guest->id, escaped);
}

static void on_scope(GVariant *reply, const GError *error, void *opaque)
{
	g_autofree char *name = opaque;

	if (error)
		log_about(LOG_WARNING, "lodged", name, "guest %s has no scope of its own: %s", name,
			  error->message);
}

void scope_make(const struct guest *guest, const pid_t *pids, unsigned count)
{
	g_autofree char *unit = scope_name(guest);

	if (activation_is_service(guest->daemon->activation))
		ask(guest->daemon, MANAGER, "StartTransientUnit",
		    scope_parameters(guest, unit, pids, count), on_scope, g_strdup(guest->name));
}

void scope_make_if_none(const struct guest *guest, pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/cgroup", pid);
	g_autofree char *own = NULL, *its = NULL;

	if (g_file_get_contents("/proc/self/cgroup", &own, NULL, NULL) &&
	    g_file_get_contents(path, &its, NULL, NULL) && !strcmp(own, its))
		scope_make(guest, &pid, 1);
}

static void on_weighed(GVariant *reply, const GError *error, void *opaque)
{
	g_autofree char *name = opaque;

	if (error)
		log_about(LOG_WARNING, "lodged", name, "the weights of guest %s are not set: %s",
			  name, error->message);
}

void scope_weigh(const struct guest *guest, u64 cpu, u64 io)
{
	g_autofree char *unit = scope_name(guest);
	GVariantBuilder properties;

	g_variant_builder_init(&properties, G_VARIANT_TYPE("a(sv)"));
	add(&properties, "CPUWeight", g_variant_new_uint64(cpu ? MIN(cpu, WEIGHT_MAX) : NO_WEIGHT));
	add(&properties, "IOWeight", g_variant_new_uint64(io ? io : NO_WEIGHT));
	ask(guest->daemon, MANAGER, "SetUnitProperties",
	    g_variant_new("(sba(sv))", unit, TRUE, &properties), on_weighed, g_strdup(guest->name));
}

/* --- the end of the host --- */

struct state_asking {
	struct daemon *daemon;
	scope_answer *answer;
};

static void on_state(GVariant *reply, const GError *error, void *opaque)
{
	g_autofree struct state_asking *asking = opaque;
	GVariant *value = NULL;
	bool down = false;

	if (error) {
		log_warning("lodged", "cannot ask whether the host goes down: %s", error->message);
	} else if (g_variant_is_of_type(reply, G_VARIANT_TYPE("(v)"))) {
		g_variant_get(reply, "(v)", &value);
		down = g_variant_is_of_type(value, G_VARIANT_TYPE_STRING) &&
		       !strcmp(g_variant_get_string(value, NULL), "stopping");
		g_variant_unref(value);
	}
	asking->answer(down, asking->daemon);
}

void scope_ask_going_down(struct daemon *daemon, scope_answer *answer)
{
	struct state_asking *asking = g_new0(struct state_asking, 1);

	*asking = (struct state_asking){ daemon, answer };
	ask(daemon, "org.freedesktop.DBus.Properties", "Get",
	    g_variant_new("(ss)", MANAGER, "SystemState"), on_state, asking);
}
