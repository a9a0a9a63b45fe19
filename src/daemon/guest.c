/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One guest's states: what is asked of it, and what its driver tells. See guest.h. */
#include "daemon/guest.h"

#include "base/log_sink.h"
#include "daemon/files.h"
#include "daemon/restraint.h"
#include "daemon/store.h"
#include "domain/xml.h"
#include "rpc_constants.h"

#include <string.h>

struct waiter {
	guest_done *done;
	void *opaque;
};

static void wait_for(GQueue *queue, guest_done *done, void *opaque)
{
	struct waiter *waiter;

	if (!done)
		return;
	waiter = g_new(struct waiter, 1);
	*waiter = (struct waiter){ done, opaque };
	g_queue_push_tail(queue, waiter);
}

static void wake(struct guest *guest, GQueue *queue, const GError *error)
{
	struct waiter *waiter;

	while ((waiter = g_queue_pop_head(queue))) {
		waiter->done(guest, error, waiter->opaque);
		g_free(waiter);
	}
}

/* --- life of the object --- */

void guest_parse_uuid(const char *text, u8 uuid[UUID_BYTES])
{
	for (unsigned i = 0; i < UUID_BYTES; i++) {
		text += *text == '-';
		uuid[i] = g_ascii_xdigit_value(text[0]) << 4 | g_ascii_xdigit_value(text[1]);
		text += 2;
	}
}

struct guest *guest_new(struct daemon *daemon, const struct domain *domain)
{
	struct guest *guest = g_new0(struct guest, 1);

	guest->daemon = daemon;
	guest->references = 1;
	guest->name = g_strdup(domain->name);
	guest->uuid_text = g_ascii_strdown(domain->uuid, -1);
	guest_parse_uuid(guest->uuid_text, guest->uuid);
	guest->id = -1;
	guest->state = VIR_DOMAIN_SHUTOFF;
	guest->driver = &driver_lodge;
	g_queue_init(&guest->start_waiters);
	g_queue_init(&guest->stop_waiters);
	return guest;
}

struct guest *guest_ref(struct guest *guest)
{
	guest->references++;
	return guest;
}

void guest_unref(struct guest *guest)
{
	if (--guest->references)
		return;
	domain_free(guest->config);
	domain_free(guest->given);
	domain_free(guest->live);
	authority_free(guest->definer);
	authority_free(guest->marked_by);
	authority_free(guest->starter);
	files_free(guest->files);
	files_free(guest->start_files);
	g_free(guest->failed_disk);
	g_free(guest->left_out);
	g_free(guest->cgroup);
	g_free(guest->unrestrained);
	g_free(guest->uuid_text);
	g_free(guest->name);
	g_free(guest);
}

bool guest_is_active(const struct guest *guest)
{
	return guest->id >= 0;
}

const struct domain *guest_domain(const struct guest *guest)
{
	return guest->live ? guest->live : guest->config ? guest->config : guest->given;
}

static void set_state(struct guest *guest, int state, int reason)
{
	guest->state = state;
	guest->reason = reason;
}

/* --- what is asked --- */

bool guest_start(struct guest *guest, const struct launch_authority *authority, bool paused,
		 guest_done *done, void *opaque, GError **error)
{
	const struct domain *from = guest->given ? guest->given : guest->config;

	if (guest_is_active(guest))
		return daemon_refuse(
			error, VIR_ERR_OPERATION_INVALID,
			"Requested operation is not valid: domain '%s' is already running",
			guest->name);
	if (guest->daemon->going_down)
		return daemon_refuse(error, VIR_ERR_OPERATION_INVALID,
				     "domain '%s' is not started: the host is going down",
				     guest->name);
	g_clear_pointer(&guest->left_out, g_free);
	guest->live = domain_make_live(from, &guest->left_out, error);
	if (!guest->live)
		return false;
	guest->id = guests_next_id(guest->daemon->guests);
	xml_set(xmlDocGetRootElement(guest->live->doc), "id", "%d", guest->id);
	authority_free(guest->starter);
	guest->starter = authority_copy(from == guest->config && guest->definer ? guest->definer
										: authority);
	guest->starting = true;
	guest->stopping = false;
	set_state(guest, VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP);
	wait_for(&guest->start_waiters, done, opaque);
	guest->driver->start(guest, paused);
	return true;
}

static bool need_active(const struct guest *guest, GError **error)
{
	return guest_is_active(guest) ||
	       daemon_refuse(error, VIR_ERR_OPERATION_INVALID,
			     "Requested operation is not valid: domain '%s' is not running",
			     guest->name);
}

bool guest_stop(struct guest *guest, bool graceful, guest_done *done, void *opaque, GError **error)
{
	if (!need_active(guest, error))
		return false;
	wait_for(&guest->stop_waiters, done, opaque);
	guest->stopping = true;
	guest->driver->stop(guest, graceful);
	return true;
}

static bool need_started(const struct guest *guest, GError **error)
{
	return need_active(guest, error) &&
	       (!guest->starting ||
		daemon_refuse(error, VIR_ERR_OPERATION_INVALID,
			      "Requested operation is not valid: domain '%s' is just starting",
			      guest->name));
}

bool guest_command(struct guest *guest, enum guest_command command, guest_done *done, void *opaque,
		   GError **error)
{
	if (!need_started(guest, error))
		return false;
	if (command == COMMAND_RESUME && guest->state == VIR_DOMAIN_RUNNING)
		return daemon_refuse(
			error, VIR_ERR_OPERATION_INVALID,
			"Requested operation is not valid: domain '%s' is already running",
			guest->name);
	guest->driver->command(guest, command, done, opaque);
	return true;
}

bool guest_press(struct guest *guest, const u8 *keys, unsigned count, u32 hold_ms, guest_done *done,
		 void *opaque, GError **error)
{
	if (!need_started(guest, error))
		return false;
	guest->driver->press(guest, keys, count, hold_ms, done, opaque);
	return true;
}

bool guest_set_link(struct guest *guest, const char *alias, bool up, guest_done *done, void *opaque,
		    GError **error)
{
	if (!need_started(guest, error))
		return false;
	guest->driver->set_link(guest, alias, up, done, opaque);
	return true;
}

bool guest_set_memory(struct guest *guest, u64 kib, guest_done *done, void *opaque, GError **error)
{
	if (!need_started(guest, error))
		return false;
	if (!guest->live->memballoon)
		return daemon_refuse(
			error, VIR_ERR_OPERATION_INVALID,
			"Requested operation is not valid: domain '%s' has no balloon, "
			"which is what gives memory back",
			guest->name);
	if (!kib || kib > guest->live->memory_kib)
		return daemon_refuse(error, VIR_ERR_INVALID_ARG,
				     "domain '%s' was started with %" G_GUINT64_FORMAT
				     " KiB, and can have that at most",
				     guest->name, guest->live->memory_kib);
	guest->driver->balloon(guest, kib, done, opaque);
	return true;
}

/* --- what the driver tells --- */

void guest_started(struct guest *guest, bool paused)
{
	guest->starting = false;
	set_state(guest, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_BOOTED);
	log_about(LOG_INFO, "lodged", guest->name, "guest %s, number %d, runs", guest->name,
		  guest->id);
	events_lifecycle(guest, VIR_DOMAIN_EVENT_STARTED, VIR_DOMAIN_EVENT_STARTED_BOOTED);
	if (paused)
		guest_paused(guest, VIR_DOMAIN_PAUSED_USER);
	restraint_started(guest);
	wake(guest, &guest->start_waiters, NULL);
}

/* The guest is inactive from now on; the object may go with it. */
static void become_inactive(struct guest *guest, int reason)
{
	restraint_leave(guest);
	guest->id = -1;
	guest->starting = guest->stopping = guest->tainted = false;
	guest->owner = NULL;
	g_clear_pointer(&guest->failed_disk, g_free);
	g_clear_pointer(&guest->live, domain_free);
	set_state(guest, VIR_DOMAIN_SHUTOFF, reason);
	if (guest->config)
		g_clear_pointer(&guest->given, domain_free);
	else if (!guest->saving)
		guests_remove(guest->daemon->guests, guest);
}

void guest_start_failed(struct guest *guest, const GError *error)
{
	log_about(LOG_WARNING, "lodged", guest->name, "guest %s does not start: %s", guest->name,
		  error->message);
	guest_ref(guest);
	become_inactive(guest, VIR_DOMAIN_SHUTOFF_FAILED);
	wake(guest, &guest->start_waiters, error);
	wake(guest, &guest->stop_waiters, NULL);
	guest_unref(guest);
}

void guest_ended(struct guest *guest, enum guest_ending ending)
{
	static const struct {
		int reason, detail;
		const char *text;
	} endings[] = {
		[ENDED_SHUTDOWN] = { VIR_DOMAIN_SHUTOFF_SHUTDOWN, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN,
				     "has shut down" },
		[ENDED_DESTROYED] = { VIR_DOMAIN_SHUTOFF_DESTROYED,
				      VIR_DOMAIN_EVENT_STOPPED_DESTROYED, "was ended" },
		[ENDED_CRASHED] = { VIR_DOMAIN_SHUTOFF_CRASHED, VIR_DOMAIN_EVENT_STOPPED_CRASHED,
				    "crashed" },
		[ENDED_FAILED] = { VIR_DOMAIN_SHUTOFF_FAILED, VIR_DOMAIN_EVENT_STOPPED_FAILED,
				   "could not go on" },
	};

	guest_ref(guest);
	log_about(LOG_INFO, "lodged", guest->name, "guest %s, number %d, %s", guest->name,
		  guest->id, endings[ending].text);
	become_inactive(guest, endings[ending].reason);
	events_lifecycle(guest, VIR_DOMAIN_EVENT_STOPPED, endings[ending].detail);
	wake(guest, &guest->stop_waiters, NULL);
	guest_unref(guest);
}

void guest_stop_failed(struct guest *guest, const GError *error)
{
	guest->stopping = false;
	wake(guest, &guest->stop_waiters, error);
}

void guest_paused(struct guest *guest, int reason)
{
	int detail = reason == VIR_DOMAIN_PAUSED_IOERROR    ? VIR_DOMAIN_EVENT_SUSPENDED_IOERROR
		     : reason == VIR_DOMAIN_PAUSED_WATCHDOG ? VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG
							    : VIR_DOMAIN_EVENT_SUSPENDED_PAUSED;

	if (guest->state == VIR_DOMAIN_PAUSED)
		return;
	if (reason == VIR_DOMAIN_PAUSED_CRASHED)
		set_state(guest, VIR_DOMAIN_CRASHED, VIR_DOMAIN_CRASHED_PANICKED);
	else
		set_state(guest, VIR_DOMAIN_PAUSED, reason);
	events_lifecycle(guest, VIR_DOMAIN_EVENT_SUSPENDED, detail);
}

void guest_resumed(struct guest *guest)
{
	if (guest->state == VIR_DOMAIN_RUNNING)
		return;
	g_clear_pointer(&guest->failed_disk, g_free);
	set_state(guest, VIR_DOMAIN_RUNNING, VIR_DOMAIN_RUNNING_UNPAUSED);
	events_lifecycle(guest, VIR_DOMAIN_EVENT_RESUMED, VIR_DOMAIN_EVENT_RESUMED_UNPAUSED);
}

void guest_rebooted(struct guest *guest)
{
	events_reboot(guest);
}

void guest_shutting_down(struct guest *guest, bool by_guest)
{
	set_state(guest, VIR_DOMAIN_SHUTDOWN, VIR_DOMAIN_SHUTDOWN_USER);
	events_lifecycle(guest, VIR_DOMAIN_EVENT_SHUTDOWN,
			 by_guest ? VIR_DOMAIN_EVENT_SHUTDOWN_GUEST
				  : VIR_DOMAIN_EVENT_SHUTDOWN_HOST);
}

void guest_disk_failed(struct guest *guest, const char *target, bool space)
{
	for (guint i = 0; guest->live && i < guest->live->disks->len; i++) {
		const struct domain_disk *disk = guest->live->disks->pdata[i];

		if (g_strcmp0(disk->target, target))
			continue;
		g_free(guest->failed_disk);
		guest->failed_disk = g_strdup(target);
		guest->failed_space = space;
		events_io_error(guest, disk, VIR_DOMAIN_EVENT_IO_ERROR_PAUSE, space);
	}
}

void guest_balloon(struct guest *guest, u64 kib)
{
	g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, kib);
	g_autofree char *path = NULL;

	if (!guest->live || guest->live->current_kib == kib || kib > guest->live->memory_kib)
		return;
	guest->live->current_kib = kib;
	xml_set_text(xml_ensure(xmlDocGetRootElement(guest->live->doc), "currentMemory"), text);
	path = running_path(guest);
	store_write(guest->daemon->store, path, running_text(guest->id, guest->live), NULL, NULL);
	events_balloon(guest, kib);
}

void guest_watchdog(struct guest *guest, const char *action)
{
	static const char *const actions[] = {
		[VIR_DOMAIN_EVENT_WATCHDOG_NONE] = "none",
		[VIR_DOMAIN_EVENT_WATCHDOG_PAUSE] = "pause",
		[VIR_DOMAIN_EVENT_WATCHDOG_RESET] = "reset",
		[VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF] = "poweroff",
		[VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN] = "shutdown",
		[VIR_DOMAIN_EVENT_WATCHDOG_DEBUG] = "debug",
		[VIR_DOMAIN_EVENT_WATCHDOG_INJECTNMI] = "inject-nmi",
	};

	for (unsigned i = 0; i < ARRAY_LEN(actions); i++)
		if (!g_strcmp0(actions[i], action))
			events_watchdog(guest, i);
}

void guest_crashed(struct guest *guest)
{
	events_lifecycle(guest, VIR_DOMAIN_EVENT_CRASHED, VIR_DOMAIN_EVENT_CRASHED_PANICKED);
}
