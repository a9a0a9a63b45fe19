/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls about the connection and what is behind it. */
#include "daemon/calls.h"
#include "launch/launch.h"

#include <string.h>
#include <unistd.h>

/*
 * Clients hold features back from hypervisors that are too old for them, by QEMU's and libvirt's
 * numbers (major * 1000000 + minor * 1000 + micro): these are of versions whose interface this is.
 */
#define AS_QEMU    8000000
#define AS_LIBVIRT 9000000

#define SYSTEM_URI  "qemu:///system"
#define SESSION_URI "qemu:///session"

static const char *own_uri(const struct daemon *daemon)
{
	return daemon->places.kind == PLACES_SESSION ? SESSION_URI : SYSTEM_URI;
}

/* Is @name, which may have parameters behind a question mark, one that is served here? */
static bool is_ours(const char *name)
{
	size_t length = name ? strcspn(name, "?") : 0;

	return !length || (length == strlen(SYSTEM_URI) && !strncmp(name, SYSTEM_URI, length)) ||
	       (length == strlen(SESSION_URI) && !strncmp(name, SESSION_URI, length));
}

static void auth_list(struct rpc_call *call)
{
	struct rpc_auth_list_ret ret = { .types.count = 1 };

	ret.types.items = rpc_arena_alloc(rpc_call_arena(call), sizeof(s32));
	rpc_reply_auth_list(call, &ret); /* 0: the socket's owner and mode are what decides */
}

static void connect_open(struct rpc_call *call, const struct rpc_connect_open_args *args)
{
	if (!is_ours(args->name)) {
		rpc_call_fail(call, VIR_ERR_NO_CONNECT, VIR_FROM_RPC,
			      "no connection driver available for %s; lodged serves " SYSTEM_URI
			      " and " SESSION_URI,
			      args->name);
		return;
	}
	/* Among the flags clients send how they look for a daemon, which is their own affair. */
	rpc_client_opened(rpc_call_client(call), args->flags & VIR_CONNECT_RO);
	rpc_reply_connect_open(call);
}

static void connect_close(struct rpc_call *call)
{
	rpc_reply_connect_close(call); /* the client closes the socket */
}

static void supports_feature(struct rpc_call *call,
			     const struct rpc_connect_supports_feature_args *args)
{
	struct rpc_connect_supports_feature_ret ret = { 0 };

	switch (args->feature) {
	case VIR_DRV_FEATURE_PROGRAM_KEEPALIVE:
		rpc_client_keepalive(rpc_call_client(call));
		ret.supported = 1;
		break;
	case VIR_DRV_FEATURE_FD_PASSING:
		ret.supported = rpc_client_is_local(rpc_call_client(call));
		break;
	case VIR_DRV_FEATURE_NETWORK_UPDATE_HAS_CORRECT_ORDER:
	case VIR_DRV_FEATURE_TYPED_PARAM_STRING:
	case VIR_DRV_FEATURE_XML_MIGRATABLE:
	case VIR_DRV_FEATURE_REMOTE_EVENT_CALLBACK:
	case VIR_DRV_FEATURE_REMOTE_CLOSE_CALLBACK: ret.supported = 1; break;
	default: break;
	}
	rpc_reply_connect_supports_feature(call, &ret);
}

static void get_type(struct rpc_call *call)
{
	/* clients choose by this name what they offer; it means "what takes QEMU's domains" */
	const struct rpc_connect_get_type_ret ret = { .type = (char *)"QEMU" };

	rpc_reply_connect_get_type(call, &ret);
}

static void get_version(struct rpc_call *call)
{
	const struct rpc_connect_get_version_ret ret = { .hv_ver = AS_QEMU };

	rpc_reply_connect_get_version(call, &ret);
}

static void get_lib_version(struct rpc_call *call)
{
	const struct rpc_connect_get_lib_version_ret ret = { .lib_ver = AS_LIBVIRT };

	rpc_reply_connect_get_lib_version(call, &ret);
}

static void get_hostname(struct rpc_call *call)
{
	const struct rpc_connect_get_hostname_ret ret = { .hostname = (char *)g_get_host_name() };

	rpc_reply_connect_get_hostname(call, &ret);
}

static void get_uri(struct rpc_call *call)
{
	const struct rpc_connect_get_uri_ret ret = { .uri = (char *)own_uri(
							     rpc_call_opaque(call)) };

	rpc_reply_connect_get_uri(call, &ret);
}

static void is_secure(struct rpc_call *call)
{
	const struct rpc_connect_is_secure_ret ret = { .secure = 1 }; /* a UNIX socket */

	rpc_reply_connect_is_secure(call, &ret);
}

static void get_max_vcpus(struct rpc_call *call, const struct rpc_connect_get_max_vcpus_args *args)
{
	const struct rpc_connect_get_max_vcpus_ret ret = { .max_vcpus = DOMAIN_VCPUS_MAX };

	rpc_reply_connect_get_max_vcpus(call, &ret);
}

static void get_capabilities(struct rpc_call *call)
{
	const struct rpc_connect_get_capabilities_ret ret = {
		.capabilities = call_text(call, capabilities_xml(rpc_call_opaque(call)))
	};

	rpc_reply_connect_get_capabilities(call, &ret);
}

static void get_domain_capabilities(struct rpc_call *call,
				    const struct rpc_connect_get_domain_capabilities_args *args)
{
	struct rpc_connect_get_domain_capabilities_ret ret;
	GError *error = NULL;
	char *xml;

	if (!call_flags(call, args->flags, 0))
		return;
	xml = domain_capabilities_xml(rpc_call_opaque(call), args->arch, args->machine,
				      args->virttype, args->emulatorbin, &error);
	if (!xml) {
		fail_call(call, error);
		return;
	}
	ret.capabilities = call_text(call, xml);
	rpc_reply_connect_get_domain_capabilities(call, &ret);
}

/* What the message behind it tells is what the end of the socket tells too: lodged sends none. */
static void register_close_callback(struct rpc_call *call)
{
	rpc_reply_connect_register_close_callback(call);
}

static void unregister_close_callback(struct rpc_call *call)
{
	rpc_reply_connect_unregister_close_callback(call);
}

const struct rpc_handlers calls_connect = {
	.auth_list = auth_list,
	.connect_open = connect_open,
	.connect_close = connect_close,
	.connect_supports_feature = supports_feature,
	.connect_get_type = get_type,
	.connect_get_version = get_version,
	.connect_get_lib_version = get_lib_version,
	.connect_get_hostname = get_hostname,
	.connect_get_uri = get_uri,
	.connect_is_secure = is_secure,
	.connect_get_max_vcpus = get_max_vcpus,
	.connect_get_capabilities = get_capabilities,
	.connect_get_domain_capabilities = get_domain_capabilities,
	.connect_register_close_callback = register_close_callback,
	.connect_unregister_close_callback = unregister_close_callback,
};
