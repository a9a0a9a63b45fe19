/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libslirp's surroundings: its configuration, its timers, its port forwards. */
#include "net-helper/helper.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MTU 1500

struct timer {
	SlirpTimerCb callback;
	void *opaque;
	s64 due_ms; /* -1: not running */
};

/* --- time --- */

static s64 now_ns(void *opaque)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static s64 now_ms(void)
{
	return now_ns(NULL) / 1000000;
}

static void *timer_new(SlirpTimerCb callback, void *callback_opaque, void *opaque)
{
	struct helper *helper = opaque;
	struct timer *timer = g_new0(struct timer, 1);

	*timer = (struct timer){ callback, callback_opaque, -1 };
	g_ptr_array_add(helper->timers, timer);
	return timer;
}

static void timer_free(void *timer, void *opaque)
{
	struct helper *helper = opaque;

	g_ptr_array_remove(helper->timers, timer);
}

static void timer_set(void *timer, int64_t due_ms, void *opaque)
{
	((struct timer *)timer)->due_ms = due_ms;
}

u32 stack_timer_wait(const struct helper *helper, u32 most)
{
	s64 now = now_ms();

	for (unsigned i = 0; i < helper->timers->len; i++) {
		const struct timer *timer = helper->timers->pdata[i];

		if (timer->due_ms >= 0)
			most = MIN(most, (u32)CLAMP(timer->due_ms - now, 0, (s64)most));
	}
	return most;
}

void stack_run_timers(struct helper *helper)
{
	s64 now = now_ms();

	for (unsigned i = 0; i < helper->timers->len; i++) {
		struct timer *timer = helper->timers->pdata[i];

		if (timer->due_ms < 0 || timer->due_ms > now)
			continue;
		timer->due_ms = -1;
		timer->callback(timer->opaque);
	}
}

/* --- what libslirp calls --- */

static ssize_t send_packet(const void *frame, size_t bytes, void *opaque)
{
	frame_to_guest(opaque, frame, bytes);
	return bytes;
}

static void guest_error(const char *message, void *opaque)
{
	/* a guest can provoke any number of these, and nobody could act on them */
}

static void nothing_fd(int fd, void *opaque)
{
}

static void nothing(void *opaque)
{
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = now_ns,
	.timer_new = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_set,
	.register_poll_fd = nothing_fd,
	.unregister_poll_fd = nothing_fd,
	.notify = nothing,
};

/* --- opening --- */

bool stack_open(struct helper *helper, GError **error)
{
	SlirpConfig config = {
		.version = 4,
		.in_enabled = true,
		.in6_enabled = true,
		.vprefix_len = 64,
		.vhostname = "lodge-guest",
		.if_mtu = MTU,
		.if_mru = MTU,
	};

	inet_pton(AF_INET, "10.0.2.0", &config.vnetwork);
	inet_pton(AF_INET, "255.255.255.0", &config.vnetmask);
	inet_pton(AF_INET, "10.0.2.2", &config.vhost);
	inet_pton(AF_INET, "10.0.2.15", &config.vdhcp_start);
	inet_pton(AF_INET, "10.0.2.3", &config.vnameserver);
	inet_pton(AF_INET6, "fec0::", &config.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &config.vhost6);
	inet_pton(AF_INET6, "fec0::3", &config.vnameserver6);
	helper->waiting = g_queue_new();
	helper->timers = g_ptr_array_new_with_free_func(g_free);
	helper->polled = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
	helper->slirp = slirp_new(&config, &callbacks, helper);
	if (!helper->slirp)
		g_set_error(error, HELPER_ERROR, 0, "libslirp does not start");
	return helper->slirp != NULL;
}

void stack_close(struct helper *helper)
{
	slirp_cleanup(helper->slirp);
	g_ptr_array_unref(helper->timers);
	g_queue_free_full(helper->waiting, (GDestroyNotify)g_bytes_unref);
	g_array_unref(helper->polled);
}

/* --- forwards --- */

struct forward {
	bool udp;
	struct in_addr address;
	unsigned first, last, to;
};

static bool parse_forward(const char *text, struct forward *forward)
{
	char **parts = g_strsplit(text, ",", -1);
	bool good = g_strv_length(parts) == 4 &&
		    sscanf(parts[2], "%5u-%5u", &forward->first, &forward->last) == 2 &&
		    sscanf(parts[3], "%5u", &forward->to) == 1 &&
		    inet_pton(AF_INET, *parts[1] ? parts[1] : "0.0.0.0", &forward->address) == 1;

	forward->udp = good && !strcmp(parts[0], "udp");
	g_strfreev(parts);
	return good && forward->first >= 1 && forward->first <= forward->last &&
	       forward->last <= 65535 && forward->to >= 1 &&
	       forward->to + (forward->last - forward->first) <= 65535;
}

bool stack_forward(struct helper *helper, const char *text, GError **error)
{
	const struct in_addr guest = { 0 }; /* whoever got 10.0.2.15 */
	struct forward forward;

	if (!parse_forward(text, &forward)) {
		g_set_error(error, HELPER_ERROR, 0,
			    "'%s' is not a port forward to an IPv4 address: "
			    "PROTO,[ADDRESS],FIRST-LAST,TO",
			    text);
		return false;
	}
	for (unsigned i = 0; i <= forward.last - forward.first; i++) {
		if (!slirp_add_hostfwd(helper->slirp, forward.udp, forward.address,
				       forward.first + i, guest, forward.to + i))
			continue;
		g_set_error(error, HELPER_ERROR, 0, "cannot forward %s port %u of %s: %s",
			    forward.udp ? "UDP" : "TCP", forward.first + i,
			    inet_ntoa(forward.address), g_strerror(errno));
		return false;
	}
	return true;
}
