/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that start, stop and steer running domains. */
#include "base/keycodes.h"
#include "daemon/calls.h"
#include "daemon/files.h"

/* --- starting --- */

bool call_start_guest(struct rpc_call *call, struct guest *guest, u32 flags, guest_done *done,
		      GError **error)
{
	unsigned count;
	const int *fds = rpc_call_fds(call, &count);
	bool good;

	guest->start_files = count ? files_of_start(guest_domain(guest), fds, count, error) : NULL;
	if (count && !guest->start_files)
		return false;
	good = guest_start(guest, call_authority(call), flags & VIR_DOMAIN_START_PAUSED, done, call,
			   error);
	g_clear_pointer(&guest->start_files, files_free); /* what it needs of them it has */
	return good;
}

void call_start(struct rpc_call *call, const struct rpc_domain *dom, u32 flags, guest_done *done)
{
	struct guest *guest = call_guest(call, dom);
	GError *error = NULL;

	if (!guest)
		return;
	if (!call_start_guest(call, guest, flags, done, &error))
		fail_call(call, error);
	else if (flags & VIR_DOMAIN_START_AUTODESTROY)
		guest->owner = rpc_call_client(call);
}

static void create_plain(struct rpc_call *call, const struct rpc_domain_create_args *args)
{
	call_start(call, &args->dom, 0, call_done);
}

static void create_with_flags(struct rpc_call *call,
			      const struct rpc_domain_create_with_flags_args *args)
{
	/* there is no saved image whose cache to bypass or that to leave */
	if (call_flags(call, args->flags, CALL_START_FLAGS))
		call_start(call, &args->dom, args->flags, call_done_domain);
}

/* --- ending --- */

static void destroy(struct rpc_call *call, const struct rpc_domain *dom, u32 flags)
{
	struct guest *guest = call_guest(call, dom);
	GError *error = NULL;

	if (guest &&
	    !guest_stop(guest, flags & VIR_DOMAIN_DESTROY_GRACEFUL, call_done, call, &error))
		fail_call(call, error);
}

static void destroy_plain(struct rpc_call *call, const struct rpc_domain_destroy_args *args)
{
	destroy(call, &args->dom, 0);
}

static void destroy_flags(struct rpc_call *call, const struct rpc_domain_destroy_flags_args *args)
{
	if (call_flags(call, args->flags, VIR_DOMAIN_DESTROY_GRACEFUL))
		destroy(call, &args->dom, args->flags);
}

/* --- commands --- */

static void command(struct rpc_call *call, const struct rpc_domain *dom, enum guest_command command)
{
	struct guest *guest = call_guest(call, dom);
	GError *error = NULL;

	if (guest && !guest_command(guest, command, call_done, call, &error))
		fail_call(call, error);
}

/* The power button is the one way to ask a guest there is: no agent, no init. */
static bool may_use_button(struct rpc_call *call, u32 flags, u32 button)
{
	if (!flags || (flags & button))
		return true;
	rpc_call_fail(call, VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU,
		      "not supported in this version: only --mode acpi is");
	return false;
}

static void shutdown_plain(struct rpc_call *call, const struct rpc_domain_shutdown_args *args)
{
	command(call, &args->dom, COMMAND_SHUTDOWN);
}

static void shutdown_flags(struct rpc_call *call, const struct rpc_domain_shutdown_flags_args *args)
{
	if (may_use_button(call, args->flags, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN))
		command(call, &args->dom, COMMAND_SHUTDOWN);
}

static void reboot(struct rpc_call *call, const struct rpc_domain_reboot_args *args)
{
	if (may_use_button(call, args->flags, VIR_DOMAIN_REBOOT_ACPI_POWER_BTN))
		command(call, &args->dom, COMMAND_REBOOT);
}

static void reset(struct rpc_call *call, const struct rpc_domain_reset_args *args)
{
	if (call_flags(call, args->flags, 0))
		command(call, &args->dom, COMMAND_RESET);
}

static void suspend(struct rpc_call *call, const struct rpc_domain_suspend_args *args)
{
	command(call, &args->dom, COMMAND_SUSPEND);
}

static void resume(struct rpc_call *call, const struct rpc_domain_resume_args *args)
{
	command(call, &args->dom, COMMAND_RESUME);
}

static void inject_nmi(struct rpc_call *call, const struct rpc_domain_inject_nmi_args *args)
{
	if (call_flags(call, args->flags, 0))
		command(call, &args->dom, COMMAND_NMI);
}

static const struct key_set {
	u32 codeset; /* libvirt's */
	enum keycode_set ours;
	const char *name;
} key_sets[] = {
	{ VIR_KEYCODE_SET_LINUX, KEYCODES_LINUX, "linux" },
	{ VIR_KEYCODE_SET_XT, KEYCODES_SET1, "xt" },
	{ VIR_KEYCODE_SET_ATSET1, KEYCODES_SET1, "atset1" },
	{ VIR_KEYCODE_SET_ATSET2, KEYCODES_SET2, "atset2" },
	{ VIR_KEYCODE_SET_USB, KEYCODES_USB, "usb" },
	{ VIR_KEYCODE_SET_QNUM, KEYCODES_QNUM, "rfb" },
};

static const struct key_set *find_key_set(u32 codeset)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(key_sets); i++)
		if (key_sets[i].codeset == codeset)
			return &key_sets[i];
	return NULL;
}

static void send_key(struct rpc_call *call, const struct rpc_domain_send_key_args *args)
{
	const struct key_set *set = find_key_set(args->codeset);
	u8 keys[RPC_REMOTE_DOMAIN_SEND_KEY_MAX];
	struct guest *guest;
	GError *error = NULL;

	if (!call_flags(call, args->flags, 0))
		return;
	if (!set) {
		rpc_call_fail(call, VIR_ERR_OPERATION_UNSUPPORTED, VIR_FROM_QEMU,
			      "keys are known by their numbers in the sets linux, xt, atset1, "
			      "atset2, usb and rfb, not in set %u",
			      args->codeset);
		return;
	}
	for (u32 i = 0; i < args->keycodes.count; i++) {
		const struct keycode *key = keycode_find(set->ours, args->keycodes.items[i]);

		if (!key) {
			rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU,
				      "the keyboard has no key with the number %u in the set %s",
				      args->keycodes.items[i], set->name);
			return;
		}
		keys[i] = key->linux_code;
	}
	guest = call_guest(call, &args->dom);
	if (guest && !guest_press(guest, keys, args->keycodes.count, args->holdtime, call_done,
				  call, &error))
		fail_call(call, error);
}

const struct rpc_handlers calls_life = {
	.domain_create = create_plain,
	.domain_create_with_flags = create_with_flags,
	.domain_destroy = destroy_plain,
	.domain_destroy_flags = destroy_flags,
	.domain_shutdown = shutdown_plain,
	.domain_shutdown_flags = shutdown_flags,
	.domain_reboot = reboot,
	.domain_reset = reset,
	.domain_inject_nmi = inject_nmi,
	.domain_send_key = send_key,
	.domain_suspend = suspend,
	.domain_resume = resume,
};
