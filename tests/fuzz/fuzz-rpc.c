/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes of a client. By the first byte either one value of the protocol, which must decode to what
 * encodes to the same bytes again, in bounded memory; or a connection, whose bytes are messages
 * or anything else: the server goes on, answers the next client, and a read-only client changes
 * nothing.
 */
#include "fuzz.h"
#include "rpc/message.h"
#include "rpc/server.h"
#include "rpc_constants.h"
#include "rpc_protocol.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const size_t fuzz_bytes_max = 2048;
const bool fuzz_text = false;

enum mode { VALUE, CONNECTION, READ_ONLY, MESSAGES, MODES };

/* --- a server --- */

static void connect_open(struct rpc_call *call, const struct rpc_connect_open_args *args)
{
	rpc_client_opened(rpc_call_client(call), args->flags & VIR_CONNECT_RO);
	rpc_reply_connect_open(call);
}

static void connect_supports_feature(struct rpc_call *call,
				     const struct rpc_connect_supports_feature_args *args)
{
	const struct rpc_connect_supports_feature_ret ret = { .supported = args->feature & 1 };

	rpc_client_keepalive(rpc_call_client(call));
	rpc_reply_connect_supports_feature(call, &ret);
}

static void connect_get_hostname(struct rpc_call *call)
{
	struct rpc_connect_get_hostname_ret ret = { .hostname = rpc_arena_strdup(
							    rpc_call_arena(call), "host") };

	rpc_reply_connect_get_hostname(call, &ret);
}

static void domain_get_xml_desc(struct rpc_call *call,
				const struct rpc_domain_get_xml_desc_args *args)
{
	struct rpc_domain_get_xml_desc_ret ret = { .xml = args->dom.name };

	FUZZ_CHECK(!rpc_client_is_read_only(rpc_call_client(call)) ||
		   !(args->flags & VIR_DOMAIN_XML_SECURE));
	rpc_reply_domain_get_xml_desc(call, &ret);
}

static void domain_destroy(struct rpc_call *call, const struct rpc_domain_destroy_args *args)
{
	FUZZ_CHECK(!rpc_client_is_read_only(rpc_call_client(call)));
	rpc_call_fail(call, VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, "no domain '%s'", args->dom.name);
}

static void echo(struct rpc_stream *stream, const u8 *bytes, size_t n, void *opaque)
{
	if (n && *bytes == 'e')
		rpc_stream_close(stream);
	else
		rpc_stream_send(stream, bytes, n);
}

static void ended(struct rpc_stream *stream, void *opaque)
{
}

static void domain_open_console(struct rpc_call *call,
				const struct rpc_domain_open_console_args *args)
{
	static const struct rpc_stream_callbacks callbacks = { .data = echo, .ended = ended };

	FUZZ_CHECK(!rpc_client_is_read_only(rpc_call_client(call)));
	if (rpc_call_open_stream(call, &callbacks, NULL))
		rpc_reply_domain_open_console(call);
	else
		rpc_call_fail(call, VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU, "too many");
}

static void domain_fd_associate(struct rpc_call *call,
				const struct rpc_domain_fd_associate_args *args)
{
	unsigned count;
	const int *fds = rpc_call_fds(call, &count);

	FUZZ_CHECK(!rpc_client_is_read_only(rpc_call_client(call)));
	FUZZ_CHECK(count <= RPC_FDS_MAX);
	for (unsigned i = 0; i < count; i++)
		FUZZ_CHECK(fcntl(fds[i], F_GETFD) == FD_CLOEXEC);
	rpc_reply_domain_fd_associate(call);
}

/* Sends them back. */
static void domain_create_with_files(struct rpc_call *call,
				     const struct rpc_domain_create_with_files_args *args)
{
	const struct rpc_domain_create_with_files_ret ret = { .dom = args->dom };
	unsigned count;
	const int *fds = rpc_call_fds(call, &count);

	for (unsigned i = 0; i < count; i++)
		rpc_call_add_fd(call, dup(fds[i]));
	rpc_reply_domain_create_with_files(call, &ret);
}

static const struct rpc_handlers handlers = {
	.domain_fd_associate = domain_fd_associate,
	.domain_create_with_files = domain_create_with_files,
	.domain_open_console = domain_open_console,
	.connect_open = connect_open,
	.connect_supports_feature = connect_supports_feature,
	.connect_get_hostname = connect_get_hostname,
	.domain_get_xml_desc = domain_get_xml_desc,
	.domain_destroy = domain_destroy,
};

static int join(struct rpc_server *server, bool read_only)
{
	const struct rpc_identity identity = { .uid = 1000, .read_only = read_only };
	int ends[2];

	FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
	rpc_server_adopt(server, ends[0], &identity);
	return ends[1];
}

static void settle(void)
{
	for (unsigned i = 0; i < 100000 && g_main_context_iteration(NULL, FALSE); i++)
		FUZZ_CHECK(i < 99999);
}

static void drain(int fd)
{
	u8 bytes[4096];

	do
		settle();
	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0);
}

static GByteArray *typed_message(const struct rpc_procedure *procedure, enum rpc_message_type type,
				 s32 status, const u8 *payload, size_t bytes)
{
	const struct rpc_header header = { .program = procedure->program,
					   .version = 1,
					   .procedure = procedure->number,
					   .type = type,
					   .status = status };
	GByteArray *out = rpc_message_new(&header);

	g_byte_array_append(out, payload, bytes);
	rpc_message_finish(out);
	return out;
}

static GByteArray *message(const struct rpc_procedure *procedure, const u8 *payload, size_t bytes)
{
	return typed_message(procedure, RPC_CALL, RPC_OK, payload, bytes);
}

static void send_all(int fd, const u8 *bytes, size_t n)
{
	(void)!send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	drain(fd);
}

static void open_connection(int fd)
{
	static const u8 args[8]; /* no name, no flags */
	GByteArray *open = message(rpc_procedure_find(RPC_PROGRAM_REMOTE, RPC_PROC_CONNECT_OPEN),
				   args, sizeof(args));

	send_all(fd, open->data, open->len);
	g_byte_array_unref(open);
}

static bool still_answers(struct rpc_server *server)
{
	const struct rpc_procedure *hostname =
		rpc_procedure_find(RPC_PROGRAM_REMOTE, RPC_PROC_CONNECT_GET_HOSTNAME);
	GByteArray *call = message(hostname, (const u8 *)"", 0);
	int fd = join(server, true);
	u8 bytes[256];
	ssize_t n;

	open_connection(fd);
	(void)!send(fd, call->data, call->len, MSG_NOSIGNAL);
	settle();
	n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	g_byte_array_unref(call);
	close(fd);
	return n == 28 + 8 && !memcmp(bytes + 32, "host", 4);
}

#define AS_STREAM 0x8000 /* the message is a packet of a stream; its status follows */
#define AS_FILES  0x4000 /* it says that descriptors come; how many do, how, follows */

/* Bytes that carry descriptors; by the higher bits one of them carries none, or two. */
static void send_carriers(int fd, unsigned how)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	for (unsigned i = 0; i < (how & 15); i++) {
		union {
			struct cmsghdr header;
			u8 bytes[CMSG_SPACE(2 * sizeof(int))];
		} control = { .bytes = { 0 } };
		unsigned count = i + 1 < (how & 15) ? 1 : how & 16 ? 2 : how & 32 ? 0 : 1;
		const int fds[] = { null, null };
		struct iovec part = { (u8[]){ 0 }, 1 };
		struct msghdr packet = { .msg_iov = &part,
					 .msg_iovlen = 1,
					 .msg_control = count ? control.bytes : NULL,
					 .msg_controllen =
						 count ? CMSG_SPACE(count * sizeof(int)) : 0 };

		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
		(void)!sendmsg(fd, &packet, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	close(null);
	drain(fd);
}

static void send_with_files(int fd, struct fuzz_bytes *in, const struct rpc_procedure *procedure)
{
	unsigned how = fuzz_take(in, 1), count = fuzz_take(in, 1);
	size_t wanted = fuzz_take(in, 1), n = MIN(wanted, in->left);
	GByteArray *payload = g_byte_array_new(), *call;

	rpc_put_u32(payload, count);
	g_byte_array_append(payload, in->next, n);
	call = typed_message(procedure, RPC_CALL_FDS, RPC_OK, payload->data, payload->len);
	send_all(fd, call->data, call->len);
	send_carriers(fd, how);
	in->next += n;
	in->left -= n;
	g_byte_array_unref(call);
	g_byte_array_unref(payload);
}

static void send_message(int fd, struct fuzz_bytes *in, const struct rpc_procedure *procedure,
			 bool stream)
{
	s32 status = stream ? fuzz_take(in, 1) % 4 : RPC_OK;
	size_t wanted = fuzz_take(in, 1), n = MIN(wanted, in->left);
	GByteArray *call =
		typed_message(procedure, stream ? RPC_STREAM : RPC_CALL, status, in->next, n);

	send_all(fd, call->data, call->len);
	g_byte_array_unref(call);
	in->next += n;
	in->left -= n;
}

/* Each message of the input: a procedure by its place in the table, a length, a payload. */
static void send_messages(int fd, struct fuzz_bytes *in)
{
	while (in->left > 3) {
		u64 which = fuzz_take(in, 2);
		const struct rpc_procedure *procedure =
			&rpc_procedures[which % AS_FILES % RPC_PROCEDURES];

		if (which & AS_FILES)
			send_with_files(fd, in, procedure);
		else
			send_message(fd, in, procedure, which & AS_STREAM);
	}
}

static void run_connection(enum mode mode, struct fuzz_bytes *in)
{
	static const struct rpc_handlers *const all[] = { &handlers, NULL };
	const struct rpc_server_options options = { .handlers = all };
	struct rpc_server *server;
	int fd, before, after;

	settle(); /* the main loop has what it keeps */
	before = dup(STDIN_FILENO);
	close(before); /* the lowest number that is free, now and when all is closed */
	server = rpc_server_new(&options);
	fd = join(server, mode == READ_ONLY);

	if (mode != CONNECTION)
		open_connection(fd);
	if (mode == MESSAGES)
		send_messages(fd, in);
	else
		send_all(fd, in->next, in->left);
	FUZZ_CHECK(still_answers(server));
	close(fd);
	settle();
	FUZZ_CHECK(rpc_server_clients(server) == 0);
	rpc_server_free(server);
	after = dup(STDIN_FILENO);
	FUZZ_CHECK(after == before);
	close(after);
}

/* --- a value --- */

static void run_value(struct fuzz_bytes *in)
{
	u64 which = fuzz_take(in, 2);
	const struct rpc_procedure *procedure = &rpc_procedures[which / 2 % RPC_PROCEDURES];
	const struct rpc_type *type = which & 1 ? procedure->ret : procedure->args;
	struct rpc_arena arena = { 0 };
	GByteArray *again = g_byte_array_new();
	void *value = rpc_arena_alloc(&arena, type->size);

	if (rpc_decode(type, in->next, in->left, &arena, value)) {
		FUZZ_CHECK(rpc_encode(type, value, again));
		FUZZ_CHECK(again->len == in->left);
		FUZZ_CHECK(!again->len || !memcmp(again->data, in->next, again->len));
	}
	FUZZ_CHECK(arena.bytes <= type->size + 16 + RPC_DECODE_FACTOR * in->left);
	g_byte_array_unref(again);
	rpc_arena_clear(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes in = { .next = data, .left = size };
	enum mode mode = fuzz_take(&in, 1) % MODES;

	if (mode == VALUE)
		run_value(&in);
	else
		run_connection(mode, &in);
	return 0;
}

/* --- seeds: an empty list, text and number where the type has them --- */

static void seed_fields(const struct rpc_type *type, GByteArray *out)
{
	for (u32 i = 0; i < type->field_count; i++) {
		const struct rpc_field *field = &type->fields[i];
		u32 count = field->shape == RPC_FIXED ? field->max : 1;

		if (field->shape == RPC_LIST || field->shape == RPC_OPTIONAL)
			rpc_put_u32(out, 1);
		if (field->kind == RPC_OPAQUE)
			count = (count + 3) / 4;
		for (u32 n = 0; n < count; n++) {
			if (field->kind == RPC_STRUCT) {
				seed_fields(field->type, out);
				continue;
			}
			if (field->kind == RPC_STRING || field->kind == RPC_PARAM_VALUE)
				rpc_put_u32(out, field->kind == RPC_STRING ? 0 : 1);
			if (field->kind != RPC_STRING)
				rpc_put_u32(out, 0);
			if (field->kind == RPC_U64 || field->kind == RPC_I64 ||
			    field->kind == RPC_F64)
				rpc_put_u32(out, 7);
		}
	}
}

bool fuzz_seed(unsigned index, GByteArray *seed)
{
	const struct rpc_procedure *procedure = &rpc_procedures[index / 2 % RPC_PROCEDURES];
	GByteArray *payload = g_byte_array_new(), *call;

	if (index >= 4 * RPC_PROCEDURES) {
		g_byte_array_unref(payload);
		return false;
	}
	seed_fields(index & 1 ? procedure->ret : procedure->args, payload);
	if (index < 2 * RPC_PROCEDURES) {
		fuzz_give(seed, VALUE, 1);
		fuzz_give(seed, index, 2);
		g_byte_array_append(seed, payload->data, payload->len);
	} else if (index & 1) {
		fuzz_give(seed, MESSAGES, 1);
		fuzz_give(seed, index / 2 % RPC_PROCEDURES, 2);
		fuzz_give(seed, MIN(payload->len, 255), 1);
		g_byte_array_append(seed, payload->data, MIN(payload->len, 255));
		for (unsigned count = 0; procedure->files && count < 3; count++) {
			fuzz_give(seed, AS_FILES | index / 2 % RPC_PROCEDURES, 2);
			fuzz_give(seed, count, 1); /* that come, and are said to */
			fuzz_give(seed, count, 1);
			fuzz_give(seed, MIN(payload->len, 255), 1);
			g_byte_array_append(seed, payload->data, MIN(payload->len, 255));
		}
		for (s32 status = RPC_CONTINUE; procedure->stream && status >= RPC_OK; status--) {
			fuzz_give(seed, AS_STREAM | index / 2 % RPC_PROCEDURES, 2);
			fuzz_give(seed, status, 1);
			fuzz_give(seed, 2, 1);
			fuzz_give(seed, 'x', 2);
		}
	} else {
		call = message(procedure, payload->data, payload->len);
		fuzz_give(seed, index & 2 ? READ_ONLY : CONNECTION, 1);
		g_byte_array_append(seed, call->data, call->len);
		g_byte_array_unref(call);
	}
	g_byte_array_unref(payload);
	return true;
}
