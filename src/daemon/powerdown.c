/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See powerdown.h. */
#include "daemon/powerdown.h"

#include "base/log_sink.h"
#include "daemon/activation.h"
#include "daemon/guest.h"
#include "rpc_constants.h"

#define LOOK_MS      100
#define LOOKS_SECOND (1000 / LOOK_MS)
#define END_SECONDS  15 /* that lodged and systemd have beyond what guests get */

struct powerdown {
	struct daemon *daemon;
	GHashTable *asked; /* struct guest, referenced: its button was pressed, or it was ended */
	unsigned looks;
	bool out_of_patience;
};

static void say_failed(struct guest *guest, const GError *error, void *opaque)
{
	if (error)
		log_about(LOG_WARNING, "lodged", guest->name, "guest %s: %s", guest->name,
			  error->message);
}

static void end_guest(struct guest *guest)
{
	GError *error = NULL;

	if (guest_stop(guest, false, say_failed, NULL, &error))
		return;
	say_failed(guest, error, NULL);
	g_error_free(error);
}

static void press_button(struct guest *guest)
{
	GError *error = NULL;

	log_about(LOG_INFO, "lodged", guest->name, "guest %s is told to power off", guest->name);
	if (guest_command(guest, COMMAND_SHUTDOWN, say_failed, NULL, &error))
		return;
	say_failed(guest, error, NULL);
	g_error_free(error);
}

static void ask(struct powerdown *down, struct guest *guest)
{
	bool before = g_hash_table_contains(down->asked, guest);

	if (guest->stopping || guest->starting)
		return;
	if (down->out_of_patience) {
		log_about(LOG_WARNING, "lodged", guest->name,
			  "guest %s does not power off in time, and is ended", guest->name);
		end_guest(guest);
	} else if (!before) {
		g_hash_table_add(down->asked, guest_ref(guest));
		if (guest->state == VIR_DOMAIN_PAUSED || guest->state == VIR_DOMAIN_CRASHED)
			end_guest(guest);
		else
			press_button(guest);
	}
}

static void finish(struct powerdown *down)
{
	log_info("lodged", "no guest runs any more");
	g_main_loop_quit(down->daemon->loop);
	g_hash_table_unref(down->asked);
	g_free(down);
}

static gboolean look(gpointer opaque)
{
	struct powerdown *down = opaque;
	GPtrArray *all = guests_all(down->daemon->guests);
	unsigned active = 0;

	down->out_of_patience = down->looks++ >= down->daemon->patience_seconds * LOOKS_SECOND;
	for (guint i = 0; i < all->len; i++) {
		struct guest *guest = all->pdata[i];

		if (!guest_is_active(guest))
			continue;
		active++;
		guest_ref(guest);
		ask(down, guest);
		guest_unref(guest);
	}
	g_ptr_array_unref(all);
	if (active)
		return G_SOURCE_CONTINUE;
	finish(down);
	return G_SOURCE_REMOVE;
}

static void unref_guest(gpointer guest)
{
	guest_unref(guest);
}

void powerdown_begin(struct daemon *daemon)
{
	struct powerdown *down;
	g_autofree char *lines = NULL;

	if (daemon->going_down)
		return;
	daemon->going_down = true;
	lines = g_strdup_printf("STATUS=Powering guests down\nEXTEND_TIMEOUT_USEC=%u000000",
				daemon->patience_seconds + END_SECONDS);
	activation_notify(daemon->activation, lines);
	down = g_new0(struct powerdown, 1);
	down->daemon = daemon;
	down->asked = g_hash_table_new_full(NULL, NULL, unref_guest, NULL);
	if (look(down))
		g_timeout_add(LOOK_MS, look, down);
}
