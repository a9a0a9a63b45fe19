/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The protocol from the inside: every type there and back, what the codec refuses, who may call
 * what, and a server whose clients misbehave. Real clients are in tests/compat.
 */
#include "rpc/message.h"
#include "rpc/server.h"
#include "rpc_constants.h"
#include "rpc_protocol.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- values of any type, by its description --- */

static void fill(const struct rpc_type *type, u8 *at, struct rpc_arena *arena, GRand *rand);

static char *random_string(struct rpc_arena *arena, GRand *rand)
{
	char *text = rpc_arena_alloc(arena, 16);

	for (int i = 0, n = g_rand_int_range(rand, 0, 12); i < n; i++)
		text[i] = g_rand_int_range(rand, 1, 256);
	return text;
}

static void fill_param(struct rpc_typed_param_value *value, struct rpc_arena *arena, GRand *rand)
{
	value->type = g_rand_int_range(rand, VIR_TYPED_PARAM_INT, VIR_TYPED_PARAM_STRING + 1);
	if (value->type == VIR_TYPED_PARAM_STRING)
		value->s = random_string(arena, rand);
	else if (value->type == VIR_TYPED_PARAM_DOUBLE)
		value->d = g_rand_double(rand);
	else
		value->ui = g_rand_int(rand);
}

static void fill_element(const struct rpc_field *field, void *at, struct rpc_arena *arena,
			 GRand *rand)
{
	switch (field->kind) {
	case RPC_U8:
	case RPC_I8:
	case RPC_OPAQUE: *(u8 *)at = g_rand_int(rand); break;
	case RPC_U16: *(u16 *)at = g_rand_int(rand); break;
	case RPC_U32:
	case RPC_I32: *(u32 *)at = g_rand_int(rand); break;
	case RPC_U64:
	case RPC_I64: *(u64 *)at = (u64)g_rand_int(rand) << 32 | g_rand_int(rand); break;
	case RPC_F64: *(double *)at = g_rand_double(rand); break;
	case RPC_STRING: *(char **)at = random_string(arena, rand); break;
	case RPC_STRUCT: fill(field->type, at, arena, rand); break;
	case RPC_PARAM_VALUE: fill_param(at, arena, rand); break;
	}
}

static size_t size_of(const struct rpc_field *field)
{
	static const u8 sizes[] = { 1, 1, 2, 4, 4, 8, 8, 8, 8, 1, 0, 16 };

	return field->kind == RPC_STRUCT ? field->type->size : sizes[field->kind];
}

static void fill_many(const struct rpc_field *field, u32 count, u8 *at, struct rpc_arena *arena,
		      GRand *rand)
{
	for (u32 i = 0; i < count; i++)
		fill_element(field, at + i * size_of(field), arena, rand);
}

static void fill(const struct rpc_type *type, u8 *at, struct rpc_arena *arena, GRand *rand)
{
	for (u32 i = 0; i < type->field_count; i++) {
		const struct rpc_field *field = &type->fields[i];
		rpc_list(void) *list = (void *)(at + field->offset);
		u32 count = MIN(field->max, (u32)g_rand_int_range(rand, 0, 5));

		if (field->shape == RPC_ONE) {
			fill_element(field, at + field->offset, arena, rand);
		} else if (field->shape == RPC_FIXED) {
			fill_many(field, field->max, at + field->offset, arena, rand);
		} else if (field->shape == RPC_LIST) {
			list->count = count;
			list->items = rpc_arena_array(arena, count, size_of(field));
			fill_many(field, count, list->items, arena, rand);
		} else if (g_rand_boolean(rand) && field->kind == RPC_STRING) {
			fill_element(field, at + field->offset, arena, rand);
		} else if (g_rand_boolean(rand) && field->kind != RPC_STRING) {
			void *one = rpc_arena_alloc(arena, size_of(field));

			fill_element(field, one, arena, rand);
			*(void **)(at + field->offset) = one;
		}
	}
}

/* What was encoded decodes, to something that encodes to the same bytes; each shorter or longer
 * message is none. */
static void there_and_back(const struct rpc_type *type, GRand *rand)
{
	struct rpc_arena arena = { 0 }, second = { 0 };
	GByteArray *bytes = g_byte_array_new(), *again = g_byte_array_new();
	u8 *value = rpc_arena_alloc(&arena, type->size), *copy;

	fill(type, value, &arena, rand);
	g_assert_true(rpc_encode(type, value, bytes));
	g_assert_cmpuint(bytes->len, >=, type->wire_min);
	g_assert_cmpuint(bytes->len % 4, ==, 0);
	copy = rpc_arena_alloc(&second, type->size);
	g_assert_true(rpc_decode(type, bytes->data, bytes->len, &second, copy));
	g_assert_true(rpc_encode(type, copy, again));
	g_assert_cmpmem(bytes->data, bytes->len, again->data, again->len);
	for (guint cut = 0; cut < bytes->len; cut += 4)
		g_assert_false(rpc_decode(type, bytes->data, cut, &second, copy));
	rpc_put_u32(bytes, 0);
	g_assert_false(rpc_decode(type, bytes->data, bytes->len, &second, copy));
	g_byte_array_unref(bytes);
	g_byte_array_unref(again);
	rpc_arena_clear(&arena);
	rpc_arena_clear(&second);
}

static void test_every_type(void)
{
	GRand *rand = g_rand_new_with_seed(1);

	for (unsigned i = 0; i < RPC_PROCEDURES; i++) {
		for (unsigned times = 0; times < 4; times++) {
			there_and_back(rpc_procedures[i].args, rand);
			there_and_back(rpc_procedures[i].ret, rand);
		}
	}
	g_rand_free(rand);
}

static const struct rpc_procedure *find(s32 number)
{
	const struct rpc_procedure *procedure = rpc_procedure_find(RPC_PROGRAM_REMOTE, number);

	g_assert_nonnull(procedure);
	return procedure;
}

/* Sizes that were seen on the wire: the model's characters have a word each. */
static void test_known_sizes(void)
{
	struct rpc_node_get_info_ret info = { .model = "x86_64", .cpus = 2 };
	struct rpc_domain_get_info_ret domain = { .state = 1, .nrVirtCpu = 2 };
	GByteArray *bytes = g_byte_array_new();

	g_assert_true(rpc_encode(find(RPC_PROC_NODE_GET_INFO)->ret, &info, bytes));
	g_assert_cmpuint(bytes->len + 28, ==, 188);
	g_assert_cmpuint(bytes->data[3], ==, 'x');
	g_assert_cmpuint(bytes->data[7], ==, '8');
	g_byte_array_set_size(bytes, 0);
	g_assert_true(rpc_encode(find(RPC_PROC_DOMAIN_GET_INFO)->ret, &domain, bytes));
	g_assert_cmpuint(bytes->len, ==, 4 + 8 + 8 + 4 + 8);
	g_byte_array_unref(bytes);
}

static bool decodes(s32 number, const char *hex)
{
	const struct rpc_type *type = find(number)->args;
	struct rpc_arena arena = { 0 };
	void *value = rpc_arena_alloc(&arena, type->size);
	u8 bytes[256];
	size_t n = 0;
	bool good;

	for (; *hex; hex += 2, n++)
		bytes[n] = g_ascii_xdigit_value(hex[0]) << 4 | g_ascii_xdigit_value(hex[1]);
	good = rpc_decode(type, bytes, n, &arena, value);
	g_assert_cmpuint(arena.bytes, <=, RPC_DECODE_FACTOR * n + 1024);
	rpc_arena_clear(&arena);
	return good;
}

static void test_refused_values(void)
{
	/* connect_open: name?, flags */
	g_assert_true(decodes(RPC_PROC_CONNECT_OPEN, "0000000000000001"));
	g_assert_true(decodes(RPC_PROC_CONNECT_OPEN, "00000001000000016100000000000000"));
	g_assert_false(decodes(RPC_PROC_CONNECT_OPEN, "00000002000000016100000000000000"));
	g_assert_false(decodes(RPC_PROC_CONNECT_OPEN, "00000001000000016100000100000000"));
	g_assert_false(decodes(RPC_PROC_CONNECT_OPEN, "00000001000000010000000000000000"));
	g_assert_false(decodes(RPC_PROC_CONNECT_OPEN, "00000001ffffffff6100000000000000"));
	g_assert_false(decodes(RPC_PROC_CONNECT_OPEN, "00000001004000016100000000000000"));
	/* connect_baseline_cpu: strings, 256 at most; no count makes it allocate */
	g_assert_true(decodes(RPC_PROC_CONNECT_BASELINE_CPU, "0000000000000000"));
	g_assert_false(decodes(RPC_PROC_CONNECT_BASELINE_CPU, "0000010100000000"));
	g_assert_false(decodes(RPC_PROC_CONNECT_BASELINE_CPU, "0000010000000000"));
	/* domain_send_key's codes: 17 */
	g_assert_false(decodes(RPC_PROC_DOMAIN_SEND_KEY, "0000000161000000"
							 "00000000000000000000000000000000"
							 "00000000000000000000000000000011"));
}

static void test_union(void)
{
	const char *head = "0000000100000001610000000000000";
	char *text;

	for (int tag = 0; tag <= 9; tag++) {
		text = g_strdup_printf("%s%x00000000%s", head, tag, "00000000");
		/* int, uint and boolean take one word, numbers of 64 bits two, a string its length
		 */
		g_assert_true(decodes(RPC_PROC_CONNECT_SET_IDENTITY, text) ==
			      (tag == 1 || tag == 2 || tag == 6 || tag == 7));
		g_free(text);
		text = g_strdup_printf("%s%x0000000000000000%s", head, tag, "00000000");
		g_assert_true(decodes(RPC_PROC_CONNECT_SET_IDENTITY, text) ==
			      (tag == 3 || tag == 4 || tag == 5));
		g_free(text);
	}
}

static void test_refused_answers(void)
{
	struct rpc_connect_get_hostname_ret missing = { 0 };
	struct rpc_connect_list_domains_ret many = { .ids.count = 16385 };
	GByteArray *bytes = g_byte_array_new();

	g_assert_false(rpc_encode(find(RPC_PROC_CONNECT_GET_HOSTNAME)->ret, &missing, bytes));
	g_assert_false(rpc_encode(find(RPC_PROC_CONNECT_LIST_DOMAINS)->ret, &many, bytes));
	g_assert_cmpuint(bytes->len, ==, 0);
	g_byte_array_unref(bytes);
}

/* --- access --- */

static void test_access(void)
{
	struct rpc_domain_get_xml_desc_args xml = { .flags = VIR_DOMAIN_XML_INACTIVE };
	struct rpc_domain_interface_addresses_args addresses = { 0 };
	struct rpc_domain_set_scheduler_parameters_args scheduler = { 0 };
	struct rpc_domain_attach_device_flags_args attach = { 0 };
	const struct rpc_procedure *attaching = find(RPC_PROC_DOMAIN_ATTACH_DEVICE_FLAGS);
	unsigned reading = 0;

	g_assert_null(rpc_procedure_changes(find(RPC_PROC_DOMAIN_GET_XML_DESC), &xml));
	xml.flags |= VIR_DOMAIN_XML_SECURE;
	g_assert_nonnull(rpc_procedure_changes(find(RPC_PROC_DOMAIN_GET_XML_DESC), &xml));
	xml.flags = VIR_DOMAIN_XML_MIGRATABLE;
	g_assert_nonnull(rpc_procedure_changes(find(RPC_PROC_DOMAIN_GET_XML_DESC), &xml));
	g_assert_null(rpc_procedure_changes(find(RPC_PROC_DOMAIN_INTERFACE_ADDRESSES), &addresses));
	addresses.source = VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT;
	g_assert_nonnull(
		rpc_procedure_changes(find(RPC_PROC_DOMAIN_INTERFACE_ADDRESSES), &addresses));
	g_assert_nonnull(
		rpc_procedure_changes(find(RPC_PROC_DOMAIN_SET_SCHEDULER_PARAMETERS), &scheduler));
	/* write always; save with the flag for the definition, or with none */
	g_assert_cmpuint(attaching->rule_count, >=, 3);
	g_assert_cmpstr(rpc_procedure_changes(attaching, &attach)->permission, ==, "write");
	for (unsigned i = 0; i < RPC_PROCEDURES; i++) {
		const struct rpc_procedure *p = &rpc_procedures[i];
		void *zeros = g_malloc0(p->args->size + 1);

		if (!p->event && !rpc_procedure_changes(p, zeros)) {
			reading++;
			g_assert_null(strstr(p->name, "_set_"));
			g_assert_null(strstr(p->name, "_create"));
			g_assert_null(strstr(p->name, "define_xml"));
			g_assert_null(strstr(p->name, "destroy"));
			g_assert_null(strstr(p->name, "delete"));
			g_assert_null(strstr(p->name, "peek"));
		}
		g_free(zeros);
	}
	g_assert_cmpuint(reading, >, 100);
	g_assert_null(rpc_procedure_find(RPC_PROGRAM_REMOTE, RPC_PROC_DOMAIN_EVENT_LIFECYCLE));
	g_assert_null(rpc_procedure_find(RPC_PROGRAM_REMOTE, 0));
	g_assert_null(rpc_procedure_find(RPC_PROGRAM_REMOTE, 1000000));
	g_assert_null(rpc_procedure_find(1, 1));
	g_assert_cmpstr(rpc_procedure_find(RPC_PROGRAM_QEMU, 1)->name, ==,
			"qemu_domain_monitor_command");
}

/* --- a server --- */

struct bench {
	struct rpc_server *server;
	GPtrArray
		*waiting; /* struct rpc_call: of domain_shutdown, which this server answers late */
	unsigned gone, destroyed;
	unsigned sent, writable, ended; /* of streams */
};

static void connect_open(struct rpc_call *call, const struct rpc_connect_open_args *args)
{
	rpc_client_opened(rpc_call_client(call), args->flags & VIR_CONNECT_RO);
	rpc_reply_connect_open(call);
}

static void connect_supports_feature(struct rpc_call *call,
				     const struct rpc_connect_supports_feature_args *args)
{
	const struct rpc_connect_supports_feature_ret ret = { .supported = 1 };

	rpc_client_keepalive(rpc_call_client(call));
	rpc_reply_connect_supports_feature(call, &ret);
}

static void connect_get_hostname(struct rpc_call *call)
{
	struct rpc_connect_get_hostname_ret ret = { .hostname = rpc_arena_strdup(
							    rpc_call_arena(call), "host") };

	rpc_reply_connect_get_hostname(call, &ret);
}

static void connect_get_capabilities(struct rpc_call *call)
{
	struct rpc_connect_get_capabilities_ret ret = { 0 };

	ret.capabilities = rpc_arena_alloc(rpc_call_arena(call), RPC_STRING_MAX);
	memset(ret.capabilities, 'x', RPC_STRING_MAX - 1);
	rpc_reply_connect_get_capabilities(call, &ret);
}

static void domain_shutdown(struct rpc_call *call, const struct rpc_domain_shutdown_args *args)
{
	struct bench *bench = rpc_call_opaque(call);

	g_assert_cmpstr(args->dom.name, ==, "d");
	g_ptr_array_add(bench->waiting, call);
}

static void domain_destroy(struct rpc_call *call, const struct rpc_domain_destroy_args *args)
{
	((struct bench *)rpc_call_opaque(call))->destroyed++;
	rpc_call_fail(call, VIR_ERR_NO_DOMAIN, VIR_FROM_QEMU, "no domain %s\xff", args->dom.name);
}

/* An echo; "end" ends it from this side, "much" sends until the client must read. */
static void on_stream_data(struct rpc_stream *stream, const u8 *bytes, size_t n, void *opaque)
{
	struct bench *bench = opaque;
	static const u8 much[RPC_STREAM_BYTES_MAX + 1000] = { 'm' };

	if (n == 3 && !memcmp(bytes, "end", 3))
		rpc_stream_close(stream);
	else if (n == 4 && !memcmp(bytes, "much", 4))
		while (rpc_stream_send(stream, much, sizeof(much)))
			bench->sent++;
	else
		rpc_stream_send(stream, bytes, n);
}

static void on_stream_writable(struct rpc_stream *stream, void *opaque)
{
	((struct bench *)opaque)->writable++;
}

static void on_stream_ended(struct rpc_stream *stream, void *opaque)
{
	((struct bench *)opaque)->ended++;
}

static void domain_open_console(struct rpc_call *call,
				const struct rpc_domain_open_console_args *args)
{
	static const struct rpc_stream_callbacks callbacks = { on_stream_data, on_stream_writable,
							       on_stream_ended };

	if (rpc_call_open_stream(call, &callbacks, rpc_call_opaque(call)))
		rpc_reply_domain_open_console(call);
	else
		rpc_call_fail(call, VIR_ERR_OPERATION_FAILED, VIR_FROM_QEMU, "too many");
}

static const struct rpc_handlers some = { .connect_open = connect_open,
					  .connect_supports_feature = connect_supports_feature };
static const struct rpc_handlers others = { .connect_get_hostname = connect_get_hostname,
					    .connect_get_capabilities = connect_get_capabilities,
					    .domain_open_console = domain_open_console,
					    .domain_shutdown = domain_shutdown,
					    .domain_destroy = domain_destroy };
static const struct rpc_handlers *const all[] = { &some, &others, NULL };

static void count_gone(struct rpc_client *client, void *opaque)
{
	((struct bench *)opaque)->gone++;
}

static void bench_open(struct bench *bench)
{
	const struct rpc_server_options options = { .handlers = all,
						    .gone = count_gone,
						    .opaque = bench };

	*bench = (struct bench){ .waiting = g_ptr_array_new() };
	bench->server = rpc_server_new(&options);
}

static void bench_close(struct bench *bench)
{
	rpc_server_free(bench->server);
	for (guint i = 0; i < bench->waiting->len; i++)
		rpc_reply_domain_shutdown(bench->waiting->pdata[i]);
	g_ptr_array_unref(bench->waiting);
}

static void settle(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

static int join(struct bench *bench, bool read_only)
{
	const struct rpc_identity identity = { .uid = 1000, .read_only = read_only };
	int ends[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
	rpc_server_adopt(bench->server, ends[0], &identity);
	return ends[1];
}

static GByteArray *call_bytes(u32 program, s32 number, u32 serial, const void *args)
{
	const struct rpc_header header = {
		.program = program, .version = 1, .procedure = number, .serial = serial
	};
	const struct rpc_procedure *procedure = rpc_procedure_find(program, number);
	GByteArray *message = rpc_message_new(&header);

	if (procedure && args)
		g_assert_true(rpc_encode(procedure->args, args, message));
	rpc_message_finish(message);
	return message;
}

static void give(int fd, const void *bytes, size_t n)
{
	g_assert_cmpint(send(fd, bytes, n, MSG_NOSIGNAL), ==, n);
}

static void ask(int fd, s32 number, u32 serial, const void *args)
{
	GByteArray *message = call_bytes(RPC_PROGRAM_REMOTE, number, serial, args);

	give(fd, message->data, message->len);
	g_byte_array_unref(message);
}

/* The next answer, or status -1 when there is none; -2: the server has closed. */
static struct rpc_header answer(int fd, GByteArray *payload)
{
	u8 head[28], part[65536];
	size_t left;
	ssize_t n;

	settle();
	n = recv(fd, head, sizeof(head), MSG_DONTWAIT);
	if (n <= 0)
		return (struct rpc_header){ .status = n ? -1 : -2 };
	g_assert_cmpint(n, ==, sizeof(head));
	left = rpc_get_u32(head) - sizeof(head);
	if (payload)
		g_byte_array_set_size(payload, 0);
	while (left) {
		n = recv(fd, part, MIN(left, sizeof(part)), MSG_DONTWAIT);
		if (n > 0 && payload)
			g_byte_array_append(payload, part, n);
		if (n > 0)
			left -= n;
		else
			settle();
	}
	return rpc_header_read(head);
}

static void open_connection(int fd, u32 flags)
{
	const struct rpc_connect_open_args args = { .name = (char *)"qemu:///system",
						    .flags = flags };

	ask(fd, RPC_PROC_CONNECT_OPEN, 0, &args);
	g_assert_cmpint(answer(fd, NULL).status, ==, RPC_OK);
}

/* The code of the error that comes next; its text must contain @text. */
static s32 failure(int fd, const char *text)
{
	GByteArray *payload = g_byte_array_new();
	struct rpc_header header = answer(fd, payload);
	struct rpc_arena arena = { 0 };
	struct rpc_msg_error error;

	g_assert_cmpint(header.type, ==, RPC_REPLY);
	g_assert_cmpint(header.status, ==, RPC_FAILED);
	g_assert_true(rpc_decode(&rpc_type_msg_error, payload->data, payload->len, &arena, &error));
	g_assert_cmpint(error.level, ==, 2);
	g_assert_nonnull(strstr(error.message, text));
	g_assert_true(g_utf8_validate(error.message, -1, NULL));
	rpc_arena_clear(&arena);
	g_byte_array_unref(payload);
	return error.code;
}

static const struct rpc_domain_shutdown_args some_domain = { .dom = { .name = (char *)"d" } };

static void test_calls(void)
{
	struct rpc_connect_supports_feature_args feature = { .feature = 10 };
	struct rpc_header header;
	struct bench bench;
	int fd;

	bench_open(&bench);
	fd = join(&bench, false);
	ask(fd, RPC_PROC_CONNECT_GET_HOSTNAME, 0, NULL);
	g_assert_cmpint(failure(fd, "not open"), ==, VIR_ERR_INVALID_CONN);
	ask(fd, RPC_PROC_CONNECT_SUPPORTS_FEATURE, 1, &feature);
	g_assert_cmpint(answer(fd, NULL).status, ==, RPC_OK);
	open_connection(fd, 0);
	ask(fd, RPC_PROC_CONNECT_GET_HOSTNAME, 7, NULL);
	header = answer(fd, NULL);
	g_assert_cmpuint(header.program, ==, RPC_PROGRAM_REMOTE);
	g_assert_cmpint(header.procedure, ==, RPC_PROC_CONNECT_GET_HOSTNAME);
	g_assert_cmpint(header.type, ==, RPC_REPLY);
	g_assert_cmpuint(header.serial, ==, 7);
	ask(fd, RPC_PROC_DOMAIN_DESTROY, 8, &some_domain);
	g_assert_cmpint(failure(fd, "no domain d"), ==, VIR_ERR_NO_DOMAIN);
	/* one that is known but not served, one of no table, an event, another program */
	ask(fd, RPC_PROC_NETWORK_UNDEFINE, 9, NULL);
	g_assert_cmpint(failure(fd, "not supported by the connection driver"), ==,
			VIR_ERR_NO_SUPPORT);
	ask(fd, 9999, 10, NULL);
	g_assert_cmpint(failure(fd, "unknown procedure"), ==, VIR_ERR_RPC);
	ask(fd, RPC_PROC_DOMAIN_EVENT_LIFECYCLE, 11, NULL);
	g_assert_cmpint(failure(fd, "unknown procedure"), ==, VIR_ERR_RPC);
	{
		GByteArray *message = call_bytes(0x12345678, 1, 12, NULL);

		give(fd, message->data, message->len);
		g_byte_array_unref(message);
	}
	g_assert_cmpint(failure(fd, "Cannot find program"), ==, VIR_ERR_RPC);
	close(fd);
	settle();
	g_assert_cmpuint(bench.gone, ==, 1);
	bench_close(&bench);
}

static void test_read_only(void)
{
	struct bench bench;
	int by_socket, by_flag;

	bench_open(&bench);
	by_socket = join(&bench, true);
	by_flag = join(&bench, false);
	open_connection(by_socket, 0);
	open_connection(by_flag, VIR_CONNECT_RO);
	ask(by_socket, RPC_PROC_DOMAIN_DESTROY, 1, &some_domain);
	g_assert_cmpint(failure(by_socket, "forbidden"), ==, VIR_ERR_OPERATION_DENIED);
	ask(by_flag, RPC_PROC_DOMAIN_DESTROY, 1, &some_domain);
	g_assert_cmpint(failure(by_flag, "forbidden"), ==, VIR_ERR_OPERATION_DENIED);
	g_assert_cmpuint(bench.destroyed, ==, 0);
	/* opening once more gives nothing back */
	open_connection(by_flag, 0);
	ask(by_flag, RPC_PROC_DOMAIN_DESTROY, 1, &some_domain);
	g_assert_cmpint(failure(by_flag, "forbidden"), ==, VIR_ERR_OPERATION_DENIED);
	ask(by_socket, RPC_PROC_CONNECT_GET_HOSTNAME, 2, NULL);
	g_assert_cmpint(answer(by_socket, NULL).status, ==, RPC_OK);
	close(by_socket);
	close(by_flag);
	bench_close(&bench);
}

static void test_byte_by_byte(void)
{
	GByteArray *message =
		call_bytes(RPC_PROGRAM_REMOTE, RPC_PROC_CONNECT_GET_HOSTNAME, 3, NULL);
	struct bench bench;
	int fd;

	bench_open(&bench);
	fd = join(&bench, false);
	open_connection(fd, 0);
	for (guint i = 0; i < message->len; i++) {
		g_assert_cmpint(answer(fd, NULL).status, ==, -1);
		give(fd, message->data + i, 1);
	}
	g_assert_cmpuint(answer(fd, NULL).serial, ==, 3);
	for (unsigned i = 0; i < 100; i++) /* and many at once */
		give(fd, message->data, message->len);
	for (unsigned i = 0; i < 100; i++)
		g_assert_cmpint(answer(fd, NULL).status, ==, RPC_OK);
	g_byte_array_unref(message);
	close(fd);
	bench_close(&bench);
}

static void test_bad_messages(void)
{
	static const char *const bad[] = {
		"00000000", /* lengths that are none */
		"0000001b",
		"7fffffff",
		"ffffffff",
		/* a reply, an event and a type of none, from a client */
		"0000001c200080860000000100000001000000010000000000000000",
		"0000001c200080860000000100000001000000020000000000000000",
		"0000001c200080860000000100000001000000630000000000000000",
		/* connect_open without its arguments, and with too many */
		"0000001c200080860000000100000001000000000000000000000000",
		"00000028200080860000000100000001000000000000000000000000000000000000000000000000",
		/* a keepalive call; more descriptors than there can be */
		"0000001c6b6565700000000100000001000000000000000000000000",
		"000000202000808600000001000000010000000400000000000000007fffffff",
	};
	struct bench bench;
	int good;

	bench_open(&bench);
	good = join(&bench, false);
	open_connection(good, 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int fd = join(&bench, false);
		u8 bytes[64];
		size_t n = strlen(bad[i]) / 2;

		for (size_t at = 0; at < n; at++)
			bytes[at] = g_ascii_xdigit_value(bad[i][2 * at]) << 4 |
				    g_ascii_xdigit_value(bad[i][2 * at + 1]);
		give(fd, bytes, n);
		g_assert_cmpint(answer(fd, NULL).status, ==, -2);
		close(fd);
		ask(good, RPC_PROC_CONNECT_GET_HOSTNAME, i, NULL);
		g_assert_cmpuint(answer(good, NULL).serial, ==, i);
	}
	g_assert_cmpuint(rpc_server_clients(bench.server), ==, 1);
	g_assert_cmpuint(bench.gone, ==, ARRAY_LEN(bad));
	close(good);
	bench_close(&bench);
}

/* Sixteen calls wait; what comes behind them waits in the socket, and other clients do not. */
static void test_waiting_calls(void)
{
	struct bench bench;
	int fd, other;

	bench_open(&bench);
	fd = join(&bench, false);
	other = join(&bench, false);
	open_connection(fd, 0);
	open_connection(other, 0);
	for (u32 i = 0; i < RPC_CALLS_MAX; i++)
		ask(fd, RPC_PROC_DOMAIN_SHUTDOWN, i, &some_domain);
	ask(fd, RPC_PROC_CONNECT_GET_HOSTNAME, 99, NULL);
	g_assert_cmpint(answer(fd, NULL).status, ==, -1);
	g_assert_cmpuint(bench.waiting->len, ==, RPC_CALLS_MAX);
	ask(other, RPC_PROC_CONNECT_GET_HOSTNAME, 1, NULL);
	g_assert_cmpuint(answer(other, NULL).serial, ==, 1);
	rpc_reply_domain_shutdown(g_ptr_array_remove_index(bench.waiting, 4));
	g_assert_cmpuint(answer(fd, NULL).serial, ==, 4);
	g_assert_cmpuint(answer(fd, NULL).serial, ==, 99);
	close(fd); /* with calls under way */
	settle();
	g_assert_cmpuint(bench.gone, ==, 1);
	close(other);
	bench_close(&bench);
}

/* A client that does not read is not served on, and holds up nobody. */
static void test_slow_reader(void)
{
	struct bench bench;
	int fd, other;
	unsigned i;

	bench_open(&bench);
	fd = join(&bench, false);
	other = join(&bench, false);
	open_connection(fd, 0);
	open_connection(other, 0);
	for (i = 0; i < 10; i++)
		ask(fd, RPC_PROC_CONNECT_GET_CAPABILITIES, i, NULL);
	settle();
	ask(other, RPC_PROC_CONNECT_GET_HOSTNAME, 1, NULL);
	g_assert_cmpuint(answer(other, NULL).serial, ==, 1);
	for (i = 0; i < 10; i++)
		g_assert_cmpuint(answer(fd, NULL).serial, ==, i);
	close(fd);
	close(other);
	bench_close(&bench);
}

static void test_events(void)
{
	struct rpc_domain_event_callback_lifecycle_args event = { .callbackID = 3 };
	const struct rpc_identity identity = { .uid = 1000 };
	struct rpc_client *client;
	struct rpc_header header;
	struct bench bench;
	int ends[2];

	bench_open(&bench);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
	client = rpc_server_adopt(bench.server, ends[0], &identity);
	event.msg.dom.name = (char *)"d";
	rpc_event_domain_event_callback_lifecycle(client, &event);
	header = answer(ends[1], NULL);
	g_assert_cmpint(header.type, ==, RPC_EVENT);
	g_assert_cmpuint(header.serial, ==, 0);
	g_assert_cmpint(header.procedure, ==, RPC_PROC_DOMAIN_EVENT_CALLBACK_LIFECYCLE);
	event.msg.dom.name = g_malloc(100001);
	memset(event.msg.dom.name, 'x', 100000);
	event.msg.dom.name[100000] = 0;
	for (unsigned i = 0; i < 70; i++)
		rpc_event_domain_event_callback_lifecycle(client, &event);
	g_assert_cmpuint(bench.gone, ==, 0);
	for (unsigned i = 0; i < 30 && !bench.gone; i++)
		rpc_event_domain_event_callback_lifecycle(client, &event);
	g_assert_cmpuint(bench.gone, ==, 1);
	g_free(event.msg.dom.name);
	close(ends[1]);
	bench_close(&bench);
}

static void give_packet(int fd, u32 serial, s32 status, const char *bytes)
{
	const struct rpc_header header = { .program = RPC_PROGRAM_REMOTE,
					   .version = 1,
					   .procedure = RPC_PROC_DOMAIN_OPEN_CONSOLE,
					   .type = RPC_STREAM,
					   .serial = serial,
					   .status = status };
	GByteArray *message = rpc_message_new(&header);

	g_byte_array_append(message, (const u8 *)bytes, strlen(bytes));
	rpc_message_finish(message);
	give(fd, message->data, message->len);
	g_byte_array_unref(message);
}

/* The next packet of stream @serial is @bytes with @status. */
static void assert_packet(int fd, u32 serial, s32 status, const char *bytes)
{
	GByteArray *payload = g_byte_array_new();
	struct rpc_header header = answer(fd, payload);

	g_assert_cmpint(header.type, ==, RPC_STREAM);
	g_assert_cmpint(header.procedure, ==, RPC_PROC_DOMAIN_OPEN_CONSOLE);
	g_assert_cmpuint(header.serial, ==, serial);
	g_assert_cmpint(header.status, ==, status);
	g_assert_cmpmem(payload->data, payload->len, bytes, strlen(bytes));
	g_byte_array_unref(payload);
}

static const struct rpc_domain_open_console_args some_console = { .dom = { .name = (char *)"d" } };

static void test_streams(void)
{
	struct bench bench;
	int fd;

	bench_open(&bench);
	fd = join(&bench, false);
	open_connection(fd, 0);
	for (u32 serial = 1; serial <= RPC_STREAMS_MAX; serial++) {
		ask(fd, RPC_PROC_DOMAIN_OPEN_CONSOLE, serial, &some_console);
		g_assert_cmpint(answer(fd, NULL).status, ==, RPC_OK);
	}
	ask(fd, RPC_PROC_DOMAIN_OPEN_CONSOLE, 99, &some_console);
	g_assert_cmpint(failure(fd, "too many"), ==, VIR_ERR_OPERATION_FAILED);
	give_packet(fd, 1, RPC_CONTINUE, "one");
	assert_packet(fd, 1, RPC_CONTINUE, "one");
	give_packet(fd, 2, RPC_CONTINUE, "two");
	assert_packet(fd, 2, RPC_CONTINUE, "two");
	give_packet(fd, 99, RPC_CONTINUE, "of none");
	give_packet(fd, 1, RPC_OK, ""); /* the client finishes */
	assert_packet(fd, 1, RPC_OK, "");
	give_packet(fd, 1, RPC_CONTINUE, "late");
	give_packet(fd, 2, RPC_FAILED, ""); /* the client aborts */
	assert_packet(fd, 2, RPC_OK, "");
	g_assert_cmpuint(bench.ended, ==, 2);
	give_packet(fd, 3, RPC_CONTINUE, "end"); /* the server ends, the client finishes */
	assert_packet(fd, 3, RPC_CONTINUE, "");
	give_packet(fd, 3, RPC_CONTINUE, "late");
	give_packet(fd, 3, RPC_OK, "");
	assert_packet(fd, 3, RPC_OK, "");
	g_assert_cmpuint(bench.ended, ==, 2);
	ask(fd, RPC_PROC_DOMAIN_OPEN_CONSOLE, 100, &some_console); /* there is room again */
	g_assert_cmpint(answer(fd, NULL).status, ==, RPC_OK);
	close(fd);
	settle();
	g_assert_cmpuint(bench.ended, ==, RPC_STREAMS_MAX);
	bench_close(&bench);
}

static void test_full_stream(void)
{
	struct rpc_header header;
	struct bench bench;
	int fd;

	bench_open(&bench);
	fd = join(&bench, false);
	open_connection(fd, 0);
	ask(fd, RPC_PROC_DOMAIN_OPEN_CONSOLE, 1, &some_console);
	g_assert_cmpint(answer(fd, NULL).status, ==, RPC_OK);
	give_packet(fd, 1, RPC_CONTINUE, "much");
	settle();
	g_assert_cmpuint(bench.sent, >=, RPC_OUTPUT_PAUSE / RPC_STREAM_BYTES_MAX);
	g_assert_cmpuint(bench.sent, <, 20);
	g_assert_cmpuint(bench.writable, ==, 0);
	do {
		header = answer(fd, NULL);
		g_assert_true(header.status == RPC_CONTINUE || header.status == -1);
	} while (header.status == RPC_CONTINUE);
	g_assert_cmpuint(bench.writable, ==, 1);
	give_packet(fd, 1, RPC_CONTINUE, "much"); /* and gone in the middle of it */
	close(fd);
	settle();
	g_assert_cmpuint(bench.ended, ==, 1);
	bench_close(&bench);
}

static void test_ping(void)
{
	const struct rpc_header ping = { .program = RPC_PROGRAM_KEEPALIVE,
					 .version = 1,
					 .procedure = RPC_KEEPALIVE_PROC_PING,
					 .type = RPC_EVENT };
	GByteArray *message = rpc_message_new(&ping);
	struct rpc_header header;
	struct bench bench;
	int fd;

	bench_open(&bench);
	fd = join(&bench, false);
	rpc_message_finish(message);
	give(fd, message->data, message->len);
	header = answer(fd, NULL);
	g_assert_cmpint(header.procedure, ==, RPC_KEEPALIVE_PROC_PONG);
	g_assert_cmpint(header.type, ==, RPC_EVENT);
	g_assert_cmpuint(header.program, ==, RPC_PROGRAM_KEEPALIVE);
	g_byte_array_unref(message);
	close(fd);
	bench_close(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/rpc/codec/every type", test_every_type);
	g_test_add_func("/rpc/codec/known sizes", test_known_sizes);
	g_test_add_func("/rpc/codec/refused values", test_refused_values);
	g_test_add_func("/rpc/codec/union", test_union);
	g_test_add_func("/rpc/codec/refused answers", test_refused_answers);
	g_test_add_func("/rpc/access", test_access);
	g_test_add_func("/rpc/server/calls", test_calls);
	g_test_add_func("/rpc/server/read-only", test_read_only);
	g_test_add_func("/rpc/server/byte by byte", test_byte_by_byte);
	g_test_add_func("/rpc/server/bad messages", test_bad_messages);
	g_test_add_func("/rpc/server/waiting calls", test_waiting_calls);
	g_test_add_func("/rpc/server/slow reader", test_slow_reader);
	g_test_add_func("/rpc/server/events", test_events);
	g_test_add_func("/rpc/server/streams", test_streams);
	g_test_add_func("/rpc/server/full stream", test_full_stream);
	g_test_add_func("/rpc/server/ping", test_ping);
	return g_test_run();
}
