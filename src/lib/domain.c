/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guests. See lodge/domain.h. */
#include "private.h"

#include <stdlib.h>
#include <string.h>

struct lodge_domain {
	struct object object;
	int id;
};

struct lodge_domain *domain_new(struct lodge_connection *connection, const struct rpc_domain *dom)
{
	struct lodge_domain *domain = g_new0(struct lodge_domain, 1);

	object_init(&domain->object, connection, dom->name, dom->uuid);
	domain->id = dom->id;
	return domain;
}

struct rpc_domain domain_wire(const struct lodge_domain *domain)
{
	struct rpc_domain dom = { .name = domain->object.name, .id = domain->id };

	memcpy(dom.uuid, domain->object.uuid, sizeof(dom.uuid));
	return dom;
}

struct lodge_connection *domain_connection(const struct lodge_domain *domain)
{
	return domain->object.connection;
}

static struct rpc_caller *caller_of(const struct lodge_domain *domain)
{
	return domain->object.connection->caller;
}

/* The end of a call whose answer is a domain. */
static struct lodge_domain *asked_domain(struct asking *asking, bool good,
					 struct lodge_connection *connection,
					 const struct rpc_domain *dom, const char *function)
{
	struct lodge_domain *domain = good ? domain_new(connection, dom) : NULL;

	asked(asking, good, function);
	return domain;
}

LODGE_PUBLIC void lodge_domain_free(struct lodge_domain *domain)
{
	if (!domain)
		return;
	object_clear(&domain->object);
	g_free(domain);
}

static void free_one(void *member)
{
	lodge_domain_free(member);
}

LODGE_PUBLIC void lodge_domains_free(struct lodge_domain **domains)
{
	objects_free(domains, free_one);
}

/* --- which there are --- */

LODGE_PUBLIC struct lodge_domain **lodge_domain_list(struct lodge_connection *connection,
						     unsigned flags)
{
	struct rpc_connect_list_all_domains_args args = { 1, flags };
	struct rpc_connect_list_all_domains_ret ret;
	struct lodge_domain **domains = NULL;
	struct asking a = {};
	bool good = rpc_ask_connect_list_all_domains(connection->caller, &args, &a.arena, &ret,
						     &a.failure);

	if (good) {
		domains = g_new0(struct lodge_domain *, ret.domains.count + 1);
		for (unsigned i = 0; i < ret.domains.count; i++)
			domains[i] = domain_new(connection, &ret.domains.items[i]);
	}
	asked(&a, good, __func__);
	return domains;
}

LODGE_PUBLIC struct lodge_domain *lodge_domain_by_name(struct lodge_connection *connection,
						       const char *name, unsigned flags)
{
	struct rpc_domain_lookup_by_name_args args = { (char *)name };
	struct rpc_domain_lookup_by_name_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	return asked_domain(&a,
			    rpc_ask_domain_lookup_by_name(connection->caller, &args, &a.arena, &ret,
							  &a.failure),
			    connection, &ret.dom, __func__);
}

LODGE_PUBLIC struct lodge_domain *lodge_domain_by_uuid(struct lodge_connection *connection,
						       const uint8_t uuid[LODGE_UUID_BYTES],
						       unsigned flags)
{
	struct rpc_domain_lookup_by_uuid_args args;
	struct rpc_domain_lookup_by_uuid_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	memcpy(args.uuid, uuid, sizeof(args.uuid));
	return asked_domain(&a,
			    rpc_ask_domain_lookup_by_uuid(connection->caller, &args, &a.arena, &ret,
							  &a.failure),
			    connection, &ret.dom, __func__);
}

LODGE_PUBLIC struct lodge_domain *lodge_domain_by_id(struct lodge_connection *connection, int id,
						     unsigned flags)
{
	struct rpc_domain_lookup_by_id_args args = { id };
	struct rpc_domain_lookup_by_id_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return NULL;
	return asked_domain(
		&a,
		rpc_ask_domain_lookup_by_id(connection->caller, &args, &a.arena, &ret, &a.failure),
		connection, &ret.dom, __func__);
}

static bool is_number(const char *text)
{
	return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 10;
}

LODGE_PUBLIC struct lodge_domain *lodge_domain_find(struct lodge_connection *connection,
						    const char *text, unsigned flags)
{
	struct lodge_domain *domain = NULL;
	u8 uuid[LODGE_UUID_BYTES];

	if (is_number(text))
		domain = lodge_domain_by_id(connection, atoi(text), flags);
	if (!domain && object_parse_uuid(text, uuid))
		domain = lodge_domain_by_uuid(connection, uuid, flags);
	return domain ? domain : lodge_domain_by_name(connection, text, flags);
}

LODGE_PUBLIC const char *lodge_domain_name(const struct lodge_domain *domain)
{
	return domain->object.name;
}

LODGE_PUBLIC int lodge_domain_id(const struct lodge_domain *domain)
{
	return domain->id;
}

LODGE_PUBLIC void lodge_domain_uuid(const struct lodge_domain *domain, char text[LODGE_UUID_CHARS])
{
	object_uuid(&domain->object, text);
}

/* --- definitions --- */

LODGE_PUBLIC struct lodge_domain *lodge_domain_define(struct lodge_connection *connection,
						      const char *xml, unsigned flags)
{
	struct rpc_domain_define_xml_flags_args args = { (char *)xml, flags };
	struct rpc_domain_define_xml_flags_ret ret;
	struct asking a = {};

	return asked_domain(&a,
			    rpc_ask_domain_define_xml_flags(connection->caller, &args, &a.arena,
							    &ret, &a.failure),
			    connection, &ret.dom, __func__);
}

LODGE_PUBLIC int lodge_domain_undefine(struct lodge_domain *domain, unsigned flags)
{
	struct rpc_domain_undefine_flags_args args = { domain_wire(domain), flags };
	struct asking a = {};

	return asked(&a,
		     rpc_ask_domain_undefine_flags(caller_of(domain), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC char *lodge_domain_xml(struct lodge_domain *domain, unsigned flags)
{
	struct rpc_domain_get_xml_desc_args args = { domain_wire(domain), flags };
	struct rpc_domain_get_xml_desc_ret ret;
	struct asking a = {};

	return asked_string(
		&a,
		rpc_ask_domain_get_xml_desc(caller_of(domain), &args, &a.arena, &ret, &a.failure),
		&ret.xml, __func__);
}

LODGE_PUBLIC int lodge_domain_autostart(struct lodge_domain *domain)
{
	struct rpc_domain_get_autostart_args args = { domain_wire(domain) };
	struct rpc_domain_get_autostart_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_domain_get_autostart(caller_of(domain), &args, &a.arena, &ret,
						  &a.failure),
		     __func__)
		       ? -1
		       : !!ret.autostart;
}

LODGE_PUBLIC int lodge_domain_set_autostart(struct lodge_domain *domain, int autostart,
					    unsigned flags)
{
	struct rpc_domain_set_autostart_args args = { domain_wire(domain), !!autostart };
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return -1;
	return asked(&a,
		     rpc_ask_domain_set_autostart(caller_of(domain), &args, &a.arena, &a.failure),
		     __func__);
}

/* --- life --- */

LODGE_PUBLIC struct lodge_domain *lodge_domain_create(struct lodge_connection *connection,
						      const char *xml, unsigned flags)
{
	struct rpc_domain_create_xml_args args = { (char *)xml, flags };
	struct rpc_domain_create_xml_ret ret;
	struct asking a = {};

	return asked_domain(
		&a,
		rpc_ask_domain_create_xml(connection->caller, &args, &a.arena, &ret, &a.failure),
		connection, &ret.dom, __func__);
}

LODGE_PUBLIC int lodge_domain_start(struct lodge_domain *domain, unsigned flags)
{
	struct rpc_domain_create_with_flags_args args = { domain_wire(domain), flags };
	struct rpc_domain_create_with_flags_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_domain_create_with_flags(caller_of(domain), &args, &a.arena, &ret,
						      &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_domain_shutdown(struct lodge_domain *domain, unsigned flags)
{
	struct rpc_domain_shutdown_flags_args args = { domain_wire(domain), flags };
	struct asking a = {};

	return asked(&a,
		     rpc_ask_domain_shutdown_flags(caller_of(domain), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_domain_reboot(struct lodge_domain *domain, unsigned flags)
{
	struct rpc_domain_reboot_args args = { domain_wire(domain), flags };
	struct asking a = {};

	return asked(&a, rpc_ask_domain_reboot(caller_of(domain), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_domain_destroy(struct lodge_domain *domain, unsigned flags)
{
	struct rpc_domain_destroy_flags_args args = { domain_wire(domain), flags };
	struct asking a = {};

	return asked(&a,
		     rpc_ask_domain_destroy_flags(caller_of(domain), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_domain_reset(struct lodge_domain *domain, unsigned flags)
{
	struct rpc_domain_reset_args args = { domain_wire(domain), flags };
	struct asking a = {};

	return asked(&a, rpc_ask_domain_reset(caller_of(domain), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_domain_suspend(struct lodge_domain *domain, unsigned flags)
{
	struct rpc_domain_suspend_args args = { domain_wire(domain) };
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return -1;
	return asked(&a, rpc_ask_domain_suspend(caller_of(domain), &args, &a.arena, &a.failure),
		     __func__);
}

LODGE_PUBLIC int lodge_domain_resume(struct lodge_domain *domain, unsigned flags)
{
	struct rpc_domain_resume_args args = { domain_wire(domain) };
	struct asking a = {};

	if (!flags_none(flags, __func__))
		return -1;
	return asked(&a, rpc_ask_domain_resume(caller_of(domain), &args, &a.arena, &a.failure),
		     __func__);
}

/* --- what it does --- */

LODGE_PUBLIC int lodge_domain_info(struct lodge_domain *domain, struct lodge_domain_info *info,
				   unsigned flags)
{
	struct rpc_domain_get_info_args args = { domain_wire(domain) };
	struct rpc_domain_get_info_ret ret;
	struct asking a = {};

	if (!flags_none(flags, __func__) ||
	    asked(&a, rpc_ask_domain_get_info(caller_of(domain), &args, &a.arena, &ret, &a.failure),
		  __func__))
		return -1;
	*info = (struct lodge_domain_info){ ret.state, ret.maxMem, ret.memory, ret.nrVirtCpu,
					    ret.cpuTime };
	return 0;
}

LODGE_PUBLIC int lodge_domain_state(struct lodge_domain *domain, int *reason, unsigned flags)
{
	struct rpc_domain_get_state_args args = { domain_wire(domain), flags };
	struct rpc_domain_get_state_ret ret;
	struct asking a = {};

	if (asked(&a,
		  rpc_ask_domain_get_state(caller_of(domain), &args, &a.arena, &ret, &a.failure),
		  __func__))
		return -1;
	if (reason)
		*reason = ret.reason;
	return ret.state;
}

LODGE_PUBLIC int lodge_domain_is_active(struct lodge_domain *domain)
{
	struct rpc_domain_is_active_args args = { domain_wire(domain) };
	struct rpc_domain_is_active_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_domain_is_active(caller_of(domain), &args, &a.arena, &ret, &a.failure),
		     __func__)
		       ? -1
		       : !!ret.active;
}

LODGE_PUBLIC int lodge_domain_is_persistent(struct lodge_domain *domain)
{
	struct rpc_domain_is_persistent_args args = { domain_wire(domain) };
	struct rpc_domain_is_persistent_ret ret;
	struct asking a = {};

	return asked(&a,
		     rpc_ask_domain_is_persistent(caller_of(domain), &args, &a.arena, &ret,
						  &a.failure),
		     __func__)
		       ? -1
		       : !!ret.persistent;
}
