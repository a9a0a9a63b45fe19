/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes of a server. All that it will ever say is there before the first call: whatever it is, each
 * call, stream and event ends, with an answer or with a failure that has a message, and what is
 * lost stays lost.
 */
#include "fuzz.h"
#include "rpc/message.h"
#include "rpc_ask.h"
#include "rpc_constants.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const size_t fuzz_bytes_max = 4096;
const bool fuzz_text = false;

static void check(bool good, struct rpc_failure *failure)
{
	FUZZ_CHECK(good == !failure->message);
	FUZZ_CHECK(good || (*failure->message && failure->code));
	g_clear_pointer(&failure->message, g_free);
}

static void ask_names(struct rpc_caller *caller)
{
	struct rpc_connect_list_all_domains_args args = { 1, 0 };
	struct rpc_connect_list_all_domains_ret domains;
	struct rpc_connect_get_hostname_ret host;
	struct rpc_failure failure = {};
	struct rpc_arena arena = {};
	bool good = rpc_ask_connect_get_hostname(caller, &arena, &host, &failure);

	FUZZ_CHECK(!good || strlen(host.hostname) <= fuzz_bytes_max);
	check(good, &failure);
	good = rpc_ask_connect_list_all_domains(caller, &args, &arena, &domains, &failure);
	for (u32 i = 0; good && i < domains.domains.count; i++)
		FUZZ_CHECK(strlen(domains.domains.items[i].name) <= fuzz_bytes_max);
	check(good, &failure);
	rpc_arena_clear(&arena);
}

static void talk(struct rpc_caller *caller)
{
	struct rpc_domain_open_console_args args = { .dom.name = (char *)"g" };
	struct rpc_failure failure = {};
	struct rpc_caller_stream *stream = rpc_open_domain_open_console(caller, &args, &failure);
	u8 bytes[64];
	ssize_t n;

	check(stream, &failure);
	if (!stream)
		return;
	check(rpc_caller_stream_send(stream, (const u8 *)"hello", 5, &failure), &failure);
	while ((n = rpc_caller_stream_receive(stream, bytes, sizeof(bytes), true, &failure)) > 0)
		;
	FUZZ_CHECK(n == 0 || n == -1);
	check(n == 0, &failure);
	check(rpc_caller_stream_finish(stream, &failure), &failure);
	rpc_caller_stream_free(stream);
}

/* Descriptors that come with the answer are ours. */
static void ask_for_files(struct rpc_caller *caller)
{
	struct rpc_domain_create_with_files_args args = { .dom.name = (char *)"g" };
	struct rpc_domain_create_with_files_ret ret;
	struct rpc_failure failure = {};
	struct rpc_arena arena = {};
	struct rpc_fds fds = { 0 };
	bool good =
		rpc_ask_domain_create_with_files(caller, &args, NULL, &arena, &ret, &fds, &failure);

	FUZZ_CHECK(good || !fds.count);
	for (u32 i = 0; i < fds.count; i++)
		FUZZ_CHECK(fcntl(fds.items[i], F_GETFD) == FD_CLOEXEC);
	rpc_fds_close(&fds);
	check(good, &failure);
	rpc_arena_clear(&arena);
}

/* All of it; of the last bytes, as many as the last one says, each carries a descriptor. */
static void send_input(int fd, const uint8_t *data, size_t size)
{
	size_t carriers = size ? MIN(data[size - 1] % 4u, size) : 0;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	FUZZ_CHECK(send(fd, data, size - carriers, MSG_NOSIGNAL) == (ssize_t)(size - carriers));
	for (size_t i = 0; i < carriers; i++)
		FUZZ_CHECK(rpc_carried_send(fd, null) == 1);
	close(null);
}

static void take_events(struct rpc_caller *caller)
{
	const struct rpc_procedure *procedure;
	struct rpc_arena arena = {};
	void *value;

	while ((procedure = rpc_caller_next_event(caller, &arena, &value))) {
		FUZZ_CHECK(procedure->event && value);
		rpc_arena_clear(&arena);
	}
	rpc_arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rpc_caller *caller;
	int fds[2], before = dup(STDIN_FILENO), after;

	close(before); /* the lowest number that is free, now and when all is closed */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		return 0;
	send_input(fds[1], data, size);
	shutdown(fds[1], SHUT_WR); /* what we say still goes somewhere */
	caller = rpc_caller_new(fds[0], NULL, NULL);
	rpc_caller_allow_files(caller);
	ask_names(caller);
	talk(caller);
	ask_for_files(caller);
	take_events(caller);
	ask_names(caller);
	FUZZ_CHECK(rpc_caller_is_broken(caller));
	rpc_caller_free(caller);
	close(fds[1]);
	after = dup(STDIN_FILENO);
	FUZZ_CHECK(after == before);
	close(after);
	return 0;
}

/* --- seeds --- */

static void add(GByteArray *seed, const struct rpc_header *header, const struct rpc_type *type,
		const void *value, const char *bytes)
{
	GByteArray *message = rpc_message_new(header);

	if (type)
		FUZZ_CHECK(rpc_encode(type, value, message));
	g_byte_array_append(message, (const u8 *)bytes, strlen(bytes));
	rpc_message_finish(message);
	g_byte_array_append(seed, message->data, message->len);
	g_byte_array_free(message, TRUE);
}

static struct rpc_header reply(u32 serial, s32 procedure)
{
	return (struct rpc_header){ RPC_PROGRAM_REMOTE, RPC_VERSION, procedure,
				    RPC_REPLY,          serial,      RPC_OK };
}

static const struct rpc_type *type_of(const struct rpc_header *header)
{
	for (unsigned i = 0; i < RPC_PROCEDURES; i++)
		if (rpc_procedures[i].program == header->program &&
		    rpc_procedures[i].number == header->procedure)
			return rpc_procedures[i].event ? rpc_procedures[i].args
						       : rpc_procedures[i].ret;
	return NULL;
}

/* A server that does as it should, up to a step. */
bool fuzz_seed(unsigned index, GByteArray *seed)
{
	struct rpc_connect_get_hostname_ret host = { (char *)"host" };
	struct rpc_domain guest = { .name = (char *)"web1", .id = 1 };
	struct rpc_connect_list_all_domains_ret domains = { { 1, &guest }, 1 };
	struct rpc_domain_event_callback_lifecycle_args happened = { 1, { guest, 2, 0 } };
	struct rpc_msg_error error = { .code = VIR_ERR_NO_DOMAIN, .message = (char *)"none" };
	struct rpc_header one = reply(1, RPC_PROC_CONNECT_GET_HOSTNAME),
			  two = reply(2, RPC_PROC_CONNECT_LIST_ALL_DOMAINS),
			  three = reply(3, RPC_PROC_DOMAIN_OPEN_CONSOLE), packet = three,
			  event = reply(0, RPC_PROC_DOMAIN_EVENT_CALLBACK_LIFECYCLE), ping = event;

	packet.type = RPC_STREAM;
	packet.status = RPC_CONTINUE;
	event.type = ping.type = RPC_EVENT;
	ping.program = RPC_PROGRAM_KEEPALIVE;
	ping.procedure = RPC_KEEPALIVE_PROC_PING;
	add(seed, &one, type_of(&one), &host, "");
	add(seed, &ping, NULL, NULL, "");
	if (index == 3) {
		two.status = RPC_FAILED;
		add(seed, &two, &rpc_type_msg_error, &error, "");
	} else {
		add(seed, &two, type_of(&two), &domains, "");
	}
	if (index > 0)
		add(seed, &event, type_of(&event), &happened, "");
	if (index > 1) {
		add(seed, &three, NULL, NULL, "");
		add(seed, &packet, NULL, NULL, "what a guest says");
		add(seed, &packet, NULL, NULL, "");
		packet.status = RPC_OK;
		add(seed, &packet, NULL, NULL, "");
	}
	if (index > 3) { /* the answer to the fourth call, with two descriptors */
		struct rpc_header four = reply(4, RPC_PROC_DOMAIN_CREATE_WITH_FILES);
		struct rpc_domain_create_with_files_ret started = { guest };
		GByteArray *message;

		four.type = RPC_REPLY_FDS;
		message = rpc_message_new(&four);
		rpc_put_u32(message, 2);
		FUZZ_CHECK(rpc_encode(type_of(&four), &started, message));
		rpc_message_finish(message);
		g_byte_array_append(seed, message->data, message->len);
		g_byte_array_append(seed, (const u8 *)"\0\2", 2);
		g_byte_array_free(message, TRUE);
	}
	return index < 5;
}
