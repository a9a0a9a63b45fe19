/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors that pass with messages, both ways: what comes belongs to its call and is closed with
 * it, and who sends them wrongly loses its connection and nothing else. After each test as many
 * are open as before it.
 */
#include "rpc/message.h"
#include "rpc/server.h"
#include "rpc_ask.h"
#include "rpc_constants.h"
#include "rpc_protocol.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct bench {
	struct rpc_server *server;
	unsigned gone, seen; /* descriptors that handlers were given */
	unsigned open_before;
};

static unsigned count_open(void)
{
	GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
	unsigned count = 0;

	while (g_dir_read_name(dir))
		count++;
	g_dir_close(dir);
	return count;
}

/* --- a server --- */

static void connect_open(struct rpc_call *call, const struct rpc_connect_open_args *args)
{
	rpc_client_opened(rpc_call_client(call), args->flags & VIR_CONNECT_RO);
	rpc_reply_connect_open(call);
}

static void connect_get_hostname(struct rpc_call *call)
{
	struct rpc_connect_get_hostname_ret ret = { .hostname = (char *)"host" };

	rpc_reply_connect_get_hostname(call, &ret);
}

/* Writes its group's name into each. */
static void fd_associate(struct rpc_call *call, const struct rpc_domain_fd_associate_args *args)
{
	struct bench *bench = rpc_call_opaque(call);
	unsigned count;
	const int *fds = rpc_call_fds(call, &count);

	for (unsigned i = 0; i < count; i++) {
		g_assert_cmpint(fcntl(fds[i], F_GETFD) & FD_CLOEXEC, !=, 0);
		g_assert_cmpint(write(fds[i], args->name, strlen(args->name)), ==,
				strlen(args->name));
	}
	bench->seen += count;
	if (count)
		rpc_reply_domain_fd_associate(call);
	else
		rpc_call_fail(call, VIR_ERR_INVALID_ARG, VIR_FROM_QEMU, "none came");
}

/* Gives back what came, in the other order. */
static void create_with_files(struct rpc_call *call,
			      const struct rpc_domain_create_with_files_args *args)
{
	const struct rpc_domain_create_with_files_ret ret = { .dom = args->dom };
	unsigned count;
	const int *fds = rpc_call_fds(call, &count);

	for (unsigned i = count; i > 0; i--)
		g_assert_true(rpc_call_add_fd(call, dup(fds[i - 1])));
	rpc_reply_domain_create_with_files(call, &ret);
}

static const struct rpc_handlers handlers = {
	.connect_open = connect_open,
	.connect_get_hostname = connect_get_hostname,
	.domain_fd_associate = fd_associate,
	.domain_create_with_files = create_with_files,
};
static const struct rpc_handlers *const all[] = { &handlers, NULL };

static void count_gone(struct rpc_client *client, void *opaque)
{
	((struct bench *)opaque)->gone++;
}

static void bench_open(struct bench *bench)
{
	const struct rpc_server_options options = { .handlers = all,
						    .gone = count_gone,
						    .opaque = bench };

	*bench = (struct bench){ .open_before = count_open() };
	bench->server = rpc_server_new(&options);
}

static void settle(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

static void bench_close(struct bench *bench)
{
	settle();
	rpc_server_free(bench->server);
	g_assert_cmpuint(count_open(), ==, bench->open_before);
}

/* --- a client that sends what it likes --- */

static int join_by(struct bench *bench, bool read_only, const int ends[2])
{
	const struct rpc_identity identity = { .uid = 1000, .read_only = read_only };

	rpc_server_adopt(bench->server, ends[0], &identity);
	return ends[1];
}

static int join(struct bench *bench, bool read_only)
{
	int ends[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
	return join_by(bench, read_only, ends);
}

static int join_by_tcp(struct bench *bench)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ends[2];
	socklen_t size = sizeof(address);

	g_assert_cmpint(bind(listener, (struct sockaddr *)&address, size), ==, 0);
	g_assert_cmpint(listen(listener, 1), ==, 0);
	getsockname(listener, (struct sockaddr *)&address, &size);
	ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(connect(ends[1], (struct sockaddr *)&address, size), ==, 0);
	ends[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(listener);
	return join_by(bench, false, ends);
}

static GByteArray *message(s32 number, u32 serial, s64 count, const void *args)
{
	const struct rpc_header header = { .program = RPC_PROGRAM_REMOTE,
					   .version = 1,
					   .procedure = number,
					   .type = count < 0 ? RPC_CALL : RPC_CALL_FDS,
					   .serial = serial };
	GByteArray *bytes = rpc_message_new(&header);

	if (count >= 0)
		rpc_put_u32(bytes, count);
	if (args)
		g_assert_true(rpc_encode(rpc_procedure_find(RPC_PROGRAM_REMOTE, number)->args, args,
					 bytes));
	rpc_message_finish(bytes);
	return bytes;
}

static void give(int fd, const void *bytes, size_t n)
{
	g_assert_cmpint(send(fd, bytes, n, MSG_NOSIGNAL), ==, n);
}

/* @n bytes, with @count descriptors on them. */
static void give_with(int fd, const void *bytes, size_t n, const int *fds, unsigned count)
{
	union {
		struct cmsghdr header;
		u8 bytes[CMSG_SPACE(4 * sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec part = { (void *)bytes, n };
	struct msghdr packet = { .msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = CMSG_SPACE(count * sizeof(int)) };

	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	g_assert_cmpint(sendmsg(fd, &packet, MSG_NOSIGNAL), ==, n);
}

static void call(int fd, s32 number, u32 serial, s64 count, const void *args)
{
	GByteArray *bytes = message(number, serial, count, args);

	give(fd, bytes->data, bytes->len);
	g_byte_array_unref(bytes);
}

static struct rpc_header answer(int fd)
{
	u8 head[28], rest[4096];
	ssize_t n;

	settle();
	n = recv(fd, head, sizeof(head), MSG_DONTWAIT);
	if (n <= 0)
		return (struct rpc_header){ .status = n ? -1 : -2 };
	g_assert_cmpint(n, ==, sizeof(head));
	n = rpc_get_u32(head) - sizeof(head);
	g_assert_cmpint(n, <, sizeof(rest));
	g_assert_cmpint(n ? recv(fd, rest, n, MSG_DONTWAIT) : 0, ==, n);
	return rpc_header_read(head);
}

static void open_connection(int fd)
{
	const struct rpc_connect_open_args args = { .name = (char *)"qemu:///system" };

	call(fd, RPC_PROC_CONNECT_OPEN, 0, -1, &args);
	g_assert_cmpint(answer(fd).status, ==, RPC_OK);
}

static const struct rpc_domain_fd_associate_args group = { .dom = { .name = (char *)"d" },
							   .name = (char *)"disk" };

/* A pipe whose other end has been passed and closed here: what was written, and that nobody holds
 * it any more. */
static void check_written(int fd, const char *text)
{
	char bytes[32];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	g_assert_cmpint(n, ==, strlen(text));
	g_assert_cmpmem(bytes, n, text, strlen(text));
	g_assert_cmpint(read(fd, bytes, sizeof(bytes)), ==, 0);
	close(fd);
}

static void expect_closed(struct bench *bench, int fd)
{
	g_assert_cmpint(answer(fd).status, ==, -2);
	g_assert_cmpuint(bench->gone, ==, 1);
	close(fd);
}

static void test_with_a_call(void)
{
	struct bench bench;
	int fd, one[2], two[2];

	bench_open(&bench);
	fd = join(&bench, false);
	open_connection(fd);
	g_assert_cmpint(pipe2(one, O_CLOEXEC) | pipe2(two, O_CLOEXEC), ==, 0);
	call(fd, RPC_PROC_DOMAIN_FD_ASSOCIATE, 5, 2, &group);
	give_with(fd, "", 1, &one[1], 1);
	give_with(fd, "", 1, &two[1], 1);
	call(fd, RPC_PROC_CONNECT_GET_HOSTNAME, 6, -1, NULL); /* right behind */
	close(one[1]);
	close(two[1]);
	g_assert_cmpint(answer(fd).status, ==, RPC_OK);
	g_assert_cmpuint(answer(fd).serial, ==, 6);
	g_assert_cmpuint(bench.seen, ==, 2);
	check_written(one[0], "disk");
	check_written(two[0], "disk");
	/* a count of none is a call without */
	call(fd, RPC_PROC_DOMAIN_FD_ASSOCIATE, 7, 0, &group);
	g_assert_cmpint(answer(fd).status, ==, RPC_FAILED);
	close(fd);
	bench_close(&bench);
}

static void test_slow_sender(void)
{
	GByteArray *bytes = message(RPC_PROC_DOMAIN_FD_ASSOCIATE, 5, 2, &group);
	struct bench bench;
	int slow, other, one[2];

	bench_open(&bench);
	slow = join(&bench, false);
	other = join(&bench, false);
	open_connection(slow);
	open_connection(other);
	g_assert_cmpint(pipe2(one, O_CLOEXEC), ==, 0);
	for (guint i = 0; i < bytes->len; i++) {
		give(slow, bytes->data + i, 1);
		settle();
	}
	for (unsigned i = 0; i < 2; i++) {
		g_assert_cmpint(answer(slow).status, ==, -1);
		call(other, RPC_PROC_CONNECT_GET_HOSTNAME, 6 + i, -1, NULL);
		g_assert_cmpuint(answer(other).serial, ==, 6 + i);
		give_with(slow, "", 1, &one[1], 1);
	}
	g_assert_cmpint(answer(slow).status, ==, RPC_OK);
	g_assert_cmpuint(bench.seen, ==, 2);
	close(one[0]);
	close(one[1]);
	close(slow);
	close(other);
	g_byte_array_unref(bytes);
	bench_close(&bench);
}

static void test_connection_dies(void)
{
	struct bench bench;
	int fd, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	bench_open(&bench);
	fd = join(&bench, false);
	open_connection(fd);
	call(fd, RPC_PROC_DOMAIN_FD_ASSOCIATE, 5, 3, &group);
	give_with(fd, "", 1, &null, 1);
	give_with(fd, "", 1, &null, 1);
	settle();
	g_assert_cmpuint(count_open(), ==, bench.open_before + 4); /* two ends, and those two */
	close(fd);
	bench_close(&bench);
	g_assert_cmpuint(bench.seen, ==, 0);
	close(null);
}

static void test_fewer_than_counted(void)
{
	struct bench bench;
	int fd, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	bench_open(&bench);
	fd = join(&bench, false);
	open_connection(fd);
	call(fd, RPC_PROC_DOMAIN_FD_ASSOCIATE, 5, 2, &group);
	give_with(fd, "", 1, &null, 1);
	give(fd, "x", 1);
	expect_closed(&bench, fd);
	bench_close(&bench);
	g_assert_cmpuint(bench.seen, ==, 0);
	close(null);
}

static void test_more_than_there_can_be(void)
{
	struct bench bench;
	int fd, null = open("/dev/null", O_RDWR | O_CLOEXEC);

	bench_open(&bench);
	fd = join(&bench, false);
	open_connection(fd);
	call(fd, RPC_PROC_DOMAIN_FD_ASSOCIATE, 5, RPC_FDS_MAX, &group);
	for (unsigned i = 0; i < RPC_FDS_MAX; i++)
		give_with(fd, "", 1, &null, 1);
	g_assert_cmpint(answer(fd).status, ==, RPC_OK);
	g_assert_cmpuint(bench.seen, ==, RPC_FDS_MAX);
	call(fd, RPC_PROC_DOMAIN_FD_ASSOCIATE, 6, RPC_FDS_MAX + 1, &group);
	expect_closed(&bench, fd);
	bench_close(&bench);
	close(null);
}

/* On a byte that no message has counted: of a message, behind one, two on one. */
static void test_where_none_belongs(void)
{
	GByteArray *plain = message(RPC_PROC_CONNECT_GET_HOSTNAME, 5, -1, NULL);
	GByteArray *counted = message(RPC_PROC_DOMAIN_FD_ASSOCIATE, 5, 1, &group);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), pair[] = { null, null };

	for (unsigned i = 0; i < 5; i++) {
		struct bench bench;
		int fd;

		bench_open(&bench);
		fd = join(&bench, false);
		open_connection(fd);
		if (i == 0) {
			give_with(fd, plain->data, plain->len, &null, 1);
		} else if (i == 1) {
			give_with(fd, plain->data, 8, &null, 1);
			give(fd, plain->data + 8, plain->len - 8);
		} else if (i == 2) {
			give(fd, counted->data, counted->len);
			give_with(fd, "", 1, pair, 2);
		} else if (i == 3) {
			give_with(fd, counted->data, counted->len, &null, 1);
			give(fd, "", 1);
		} else { /* so many that no message can have them, on bytes of one that goes on */
			for (unsigned n = 0; n < RPC_FDS_MAX + 1; n++) {
				give_with(fd, n < 4 ? &"\0\0\1\0"[n] : "x", 1, &null, 1);
				settle();
			}
		}
		while (answer(fd).status == RPC_OK) /* the plain call itself may be answered */
			;
		g_assert_cmpuint(bench.gone, ==, 1);
		g_assert_cmpuint(bench.seen, ==, 0);
		close(fd);
		bench_close(&bench);
	}
	g_byte_array_unref(plain);
	g_byte_array_unref(counted);
	close(null);
}

/* Whom none are taken from, and calls that take none: that call fails, the connection goes on. */
static void test_refused(void)
{
	const struct rpc_domain_destroy_args victim = { .dom = { .name = (char *)"d" } };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (unsigned i = 0; i < 4; i++) {
		bool takes_none = i == 0, tcp = i == 2;
		struct bench bench;
		int fd;

		bench_open(&bench);
		fd = tcp ? join_by_tcp(&bench) : join(&bench, i == 1);
		open_connection(fd);
		if (takes_none)
			call(fd, RPC_PROC_DOMAIN_DESTROY, 5, 1, &victim);
		else
			call(fd, i == 3 ? 999999 : RPC_PROC_DOMAIN_FD_ASSOCIATE, 5, 1,
			     i == 3 ? NULL : &group);
		if (tcp)
			give(fd, "", 1);
		else
			give_with(fd, "", 1, &null, 1);
		for (int looks = 0; tcp && looks < 1000; looks++) { /* it has to arrive */
			settle();
			g_usleep(100);
		}
		g_assert_cmpint(answer(fd).status, ==, RPC_FAILED);
		call(fd, RPC_PROC_CONNECT_GET_HOSTNAME, 6, -1, NULL);
		for (int looks = 0; tcp && looks < 1000; looks++) {
			settle();
			g_usleep(100);
		}
		g_assert_cmpuint(answer(fd).serial, ==, 6);
		g_assert_cmpuint(bench.seen, ==, 0);
		close(fd);
		if (tcp)
			g_usleep(10000);
		bench_close(&bench);
	}
	close(null);
}

/* --- our own client --- */

struct other_side {
	struct bench *bench;
	struct rpc_caller *caller;
	GMainLoop *loop;
};

static gboolean quit(gpointer loop)
{
	g_main_loop_quit(loop);
	return G_SOURCE_REMOVE;
}

static const struct rpc_domain_create_with_files_args start = { .dom = { .name = (char *)"d" } };

/* There and back with the next calls of the same connection behind them. */
static gpointer ask_with_files(gpointer opaque)
{
	struct other_side *side = opaque;
	struct rpc_failure failure = {};
	struct rpc_arena arena = {};
	struct rpc_domain_create_with_files_ret ret;
	struct rpc_connect_get_hostname_ret host;
	struct rpc_fds out = { 0 }, in;
	int one[2], two[2];

	g_assert_cmpint(pipe2(one, O_CLOEXEC) | pipe2(two, O_CLOEXEC), ==, 0);
	out.items[out.count++] = one[1];
	out.items[out.count++] = two[1];
	for (unsigned i = 0; i < 100; i++) {
		g_assert_true(rpc_ask_domain_fd_associate(side->caller, &group, &out, &arena, NULL,
							  &failure));
		g_assert_true(rpc_ask_connect_get_hostname(side->caller, &arena, &host, &failure));
		g_assert_true(rpc_ask_domain_create_with_files(side->caller, &start, &out, &arena,
							       &ret, NULL, &failure));
	}
	g_assert_true(rpc_ask_domain_create_with_files(side->caller, &start, &out, &arena, &ret,
						       &in, &failure));
	g_assert_cmpuint(in.count, ==, 2);
	g_assert_cmpint(fcntl(in.items[0], F_GETFD) & FD_CLOEXEC, !=, 0);
	g_assert_cmpint(write(in.items[0], "second", 6), ==, 6);
	rpc_fds_close(&in);
	rpc_fds_close(&out);
	for (unsigned i = 0; i < 2; i++) {
		char bytes[1024];
		ssize_t n = read(i ? two[0] : one[0], bytes, sizeof(bytes));

		g_assert_cmpint(n, ==, i ? 406 : 400);
		g_assert_cmpmem(bytes, 4, "disk", 4);
		g_assert_cmpint(read(i ? two[0] : one[0], bytes, 1), ==, 0);
		close(i ? two[0] : one[0]);
	}
	/* none is a call like any other */
	g_assert_false(
		rpc_ask_domain_fd_associate(side->caller, &group, NULL, &arena, NULL, &failure));
	g_assert_cmpstr(failure.message, ==, "none came");
	g_free(failure.message);
	rpc_arena_clear(&arena);
	g_idle_add(quit, side->loop);
	return NULL;
}

static void test_own_client(void)
{
	struct bench bench;
	struct other_side side = { .bench = &bench };
	GThread *thread;
	int fd;

	bench_open(&bench);
	fd = join(&bench, false);
	open_connection(fd);
	side.caller = rpc_caller_new(fd, NULL, NULL);
	rpc_caller_allow_files(side.caller);
	side.loop = g_main_loop_new(NULL, FALSE);
	thread = g_thread_new("client", ask_with_files, &side);
	g_main_loop_run(side.loop);
	g_thread_join(thread);
	g_main_loop_unref(side.loop);
	rpc_caller_free(side.caller);
	bench_close(&bench);
}

/* What a server sends that is none. */
static void test_bad_answers(void)
{
	static const char *const kinds[] = { "fewer", "more", "too many", "unasked" };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		struct rpc_header header = {
			RPC_PROGRAM_REMOTE,
			1,
			i == 3 ? RPC_PROC_CONNECT_GET_HOSTNAME : RPC_PROC_DOMAIN_FD_ASSOCIATE,
			RPC_REPLY_FDS,
			1,
			RPC_OK
		};
		GByteArray *reply = rpc_message_new(&header);
		unsigned before = count_open();
		struct rpc_connect_get_hostname_ret host;
		struct rpc_failure failure = {};
		struct rpc_arena arena = {};
		struct rpc_caller *caller;
		int ends[2];

		g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
		caller = rpc_caller_new(ends[0], NULL, NULL);
		rpc_caller_allow_files(caller);
		rpc_put_u32(reply, i == 2 ? RPC_FDS_MAX + 1 : 1);
		rpc_message_finish(reply);
		give(ends[1], reply->data, reply->len);
		if (i == 0)
			give(ends[1], "", 1);
		else if (i != 2)
			give_with(ends[1], "", 1, (int[]){ null, null }, i == 1 ? 2 : 1);
		if (i == 3)
			g_assert_false(
				rpc_ask_connect_get_hostname(caller, &arena, &host, &failure));
		else
			g_assert_false(rpc_ask_domain_fd_associate(caller, &group, NULL, &arena,
								   NULL, &failure));
		g_assert_true(rpc_caller_is_broken(caller));
		g_free(failure.message);
		rpc_arena_clear(&arena);
		rpc_caller_free(caller);
		close(ends[1]);
		g_byte_array_unref(reply);
		g_assert_cmpuint(count_open(), ==, before);
	}
	close(null);
}

int main(int argc, char **argv)
{
	int fd;

	g_test_init(&argc, &argv, NULL);
	/* the main loop's own descriptors are there before any are counted */
	settle();
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	close(fd);
	g_test_add_func("/rpc/files/with a call", test_with_a_call);
	g_test_add_func("/rpc/files/slow sender", test_slow_sender);
	g_test_add_func("/rpc/files/connection dies", test_connection_dies);
	g_test_add_func("/rpc/files/fewer than counted", test_fewer_than_counted);
	g_test_add_func("/rpc/files/more than there can be", test_more_than_there_can_be);
	g_test_add_func("/rpc/files/where none belongs", test_where_none_belongs);
	g_test_add_func("/rpc/files/refused", test_refused);
	g_test_add_func("/rpc/files/own client", test_own_client);
	g_test_add_func("/rpc/files/bad answers", test_bad_answers);
	return g_test_run();
}
