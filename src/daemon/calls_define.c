/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls that define, undefine and describe domains. */
#include "daemon/calls.h"

/* Managed saves, snapshots and their like do not exist yet: there is nothing to keep or remove. */
#define UNDEFINE_FLAGS                                                               \
	(VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | \
	 VIR_DOMAIN_UNDEFINE_NVRAM | VIR_DOMAIN_UNDEFINE_KEEP_NVRAM |                \
	 VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_TPM |        \
	 VIR_DOMAIN_UNDEFINE_KEEP_TPM)
#define CREATE_FLAGS \
	(VIR_DOMAIN_START_PAUSED | VIR_DOMAIN_START_AUTODESTROY | VIR_DOMAIN_START_VALIDATE)
#define XML_FLAGS                                                                      \
	(VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_UPDATE_CPU | \
	 VIR_DOMAIN_XML_MIGRATABLE)

static void define(struct rpc_call *call, const char *xml)
{
	GError *error = NULL;
	struct domain *domain = define_read(xml, &error);

	if (!domain || !define_guest(rpc_call_opaque(call), domain, call_authority(call),
				     call_done_domain, call, &error))
		fail_call(call, error);
}

static void define_xml(struct rpc_call *call, const struct rpc_domain_define_xml_args *args)
{
	define(call, args->xml);
}

static void define_xml_flags(struct rpc_call *call,
			     const struct rpc_domain_define_xml_flags_args *args)
{
	if (call_flags(call, args->flags, VIR_DOMAIN_DEFINE_VALIDATE) &&
	    call_validate(call, args->flags, args->xml, "domain"))
		define(call, args->xml);
}

void call_create(struct rpc_call *call, const char *xml, u32 flags)
{
	struct daemon *daemon = rpc_call_opaque(call);
	struct guest *guest = NULL;
	GError *error = NULL;
	struct domain *domain;

	if (!call_flags(call, flags, CREATE_FLAGS) ||
	    !call_validate(call, flags & VIR_DOMAIN_START_VALIDATE, xml, "domain"))
		return;
	domain = define_read(xml, &error);
	if (domain)
		guest = define_transient(daemon, domain, &error);
	if (!guest) {
		fail_call(call, error);
		return;
	}
	if (flags & VIR_DOMAIN_START_AUTODESTROY)
		guest->owner = rpc_call_client(call);
	if (call_start_guest(call, guest, flags, call_done_domain, &error))
		return;
	guest->owner = NULL;
	define_give_up(guest);
	fail_call(call, error);
}

static void create_xml(struct rpc_call *call, const struct rpc_domain_create_xml_args *args)
{
	call_create(call, args->xml_desc, args->flags);
}

static void undefine(struct rpc_call *call, const struct rpc_domain *dom)
{
	struct guest *guest = call_guest(call, dom);
	GError *error = NULL;

	if (guest && !undefine_guest(guest, call_done, call, &error))
		fail_call(call, error);
}

static void undefine_plain(struct rpc_call *call, const struct rpc_domain_undefine_args *args)
{
	undefine(call, &args->dom);
}

static void undefine_flags(struct rpc_call *call, const struct rpc_domain_undefine_flags_args *args)
{
	if (call_flags(call, args->flags, UNDEFINE_FLAGS))
		undefine(call, &args->dom);
}

static void get_xml_desc(struct rpc_call *call, const struct rpc_domain_get_xml_desc_args *args)
{
	struct rpc_domain_get_xml_desc_ret ret;
	const struct domain *domain;
	struct guest *guest;

	if (!call_flags(call, args->flags, XML_FLAGS) || !(guest = call_guest(call, &args->dom)))
		return;
	domain = guest_domain(guest);
	if ((args->flags & VIR_DOMAIN_XML_INACTIVE) && guest->config)
		domain = guest->config;
	ret.xml =
		call_text(call, args->flags & VIR_DOMAIN_XML_SECURE ? domain_format(domain)
								    : domain_format_public(domain));
	rpc_reply_domain_get_xml_desc(call, &ret);
}

static void set_autostart(struct rpc_call *call, const struct rpc_domain_set_autostart_args *args)
{
	struct guest *guest = call_guest(call, &args->dom);

	if (!guest)
		return;
	if (!guest->config)
		rpc_call_fail(call, VIR_ERR_OPERATION_INVALID, VIR_FROM_QEMU,
			      "Requested operation is not valid: cannot set autostart for "
			      "transient domain '%s'",
			      guest->name);
	else
		define_autostart(guest, args->autostart, call_authority(call), call_done, call);
}

static void get_autostart(struct rpc_call *call, const struct rpc_domain_get_autostart_args *args)
{
	struct guest *guest = call_guest(call, &args->dom);
	struct rpc_domain_get_autostart_ret ret;

	if (!guest)
		return;
	ret.autostart = guest->autostart;
	rpc_reply_domain_get_autostart(call, &ret);
}

const struct rpc_handlers calls_define = {
	.domain_define_xml = define_xml,
	.domain_define_xml_flags = define_xml_flags,
	.domain_create_xml = create_xml,
	.domain_undefine = undefine_plain,
	.domain_undefine_flags = undefine_flags,
	.domain_get_xml_desc = get_xml_desc,
	.domain_set_autostart = set_autostart,
	.domain_get_autostart = get_autostart,
};
