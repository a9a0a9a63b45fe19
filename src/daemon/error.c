/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From our errors to libvirt's numbers. */
#include "daemon/daemon.h"
#include "domain/domain.h"
#include "launch/launch.h"
#include "rpc_constants.h"

GQuark daemon_error_quark(void)
{
	return g_quark_from_static_string("lodged");
}

bool daemon_refuse(GError **error, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	*error = g_error_new_valist(DAEMON_ERROR, code, fmt, args);
	va_end(args);
	return false;
}

static int code_of(const GError *error)
{
	static const int domain_codes[] = {
		[DOMAIN_ERROR_XML] = VIR_ERR_XML_ERROR,
		[DOMAIN_ERROR_VALUE] = VIR_ERR_XML_ERROR,
		[DOMAIN_ERROR_CONFLICT] = VIR_ERR_XML_ERROR,
		[DOMAIN_ERROR_UNSUPPORTED] = VIR_ERR_CONFIG_UNSUPPORTED,
		[DOMAIN_ERROR_SCHEMA] = VIR_ERR_XML_INVALID_SCHEMA,
	};
	static const int launch_codes[] = {
		[LAUNCH_ERROR_ENGINE] = VIR_ERR_CONFIG_UNSUPPORTED,
		[LAUNCH_ERROR_OPEN] = VIR_ERR_SYSTEM_ERROR,
		[LAUNCH_ERROR_BUSY] = VIR_ERR_RESOURCE_BUSY,
		[LAUNCH_ERROR_SPAWN] = VIR_ERR_INTERNAL_ERROR,
	};

	if (error->domain == DAEMON_ERROR)
		return error->code;
	if (error->domain == DOMAIN_ERROR)
		return domain_codes[error->code];
	return error->domain == LAUNCH_ERROR ? launch_codes[error->code] : VIR_ERR_OPERATION_FAILED;
}

void fail_call(struct rpc_call *call, GError *error)
{
	rpc_call_fail(call, code_of(error), VIR_FROM_QEMU, "%s", error->message);
	g_error_free(error);
}
