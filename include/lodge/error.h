/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Why a function of liblodge failed. Each thread has its own last error; a function that fails sets
 * it, one that succeeds leaves it alone.
 */
#ifndef LODGE_ERROR_H
#define LODGE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

/* libvirt's numbers. There are more: a daemon may send any of them. */
enum lodge_error_code {
	LODGE_ERR_OK = 0,
	LODGE_ERR_INTERNAL_ERROR = 1,
	LODGE_ERR_NO_MEMORY = 2,
	LODGE_ERR_NO_SUPPORT = 3,
	LODGE_ERR_NO_CONNECT = 5,
	LODGE_ERR_INVALID_ARG = 8,
	LODGE_ERR_OPERATION_FAILED = 9,
	LODGE_ERR_XML_ERROR = 27,
	LODGE_ERR_OPERATION_DENIED = 29,
	LODGE_ERR_SYSTEM_ERROR = 38,
	LODGE_ERR_RPC =
		39, /* the connection is lost, or the other side is no daemon of this kind */
	LODGE_ERR_NO_DOMAIN = 42,
	LODGE_ERR_NO_NETWORK = 43,
	LODGE_ERR_AUTH_FAILED = 45,
	LODGE_ERR_NO_STORAGE_POOL = 49,
	LODGE_ERR_NO_STORAGE_VOL = 50,
	LODGE_ERR_OPERATION_INVALID = 55,
	LODGE_ERR_NO_INTERFACE = 57,
	LODGE_ERR_CONFIG_UNSUPPORTED = 67,
	LODGE_ERR_OPERATION_UNSUPPORTED = 84,
	LODGE_ERR_RESOURCE_BUSY = 87,
	LODGE_ERR_ACCESS_DENIED = 88,
	LODGE_ERR_DEVICE_MISSING = 99,
};

struct lodge_error {
	int code;             /* enum lodge_error_code, or another number of libvirt's */
	const char *message;  /* one phrase */
	const char *hint;     /* what to do about it; NULL: nothing is known */
	const char *function; /* of liblodge, that failed */
};

/* This thread's last error: code LODGE_ERR_OK and empty strings before there is one. What it points
 * to is good until the thread's next call that fails. */
const struct lodge_error *lodge_last_error(void);

#ifdef __cplusplus
}
#endif
#endif
