/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * liblodge against a lodged, or what pretends to be one: test_liblodge.py starts it and says where
 * it is in $LODGE_URI; the first argument chooses the part.
 *
 *   liblodge all KERNEL     everything, with a real lodged and a guest of KERNEL
 *   liblodge gone PID       the daemon PID is killed under calls
 *   liblodge flood          a server that sends much before it reads on
 *   liblodge refused TEXT   connecting fails, and TEXT is in the message
 */
#include <lodge/lodge.h>

#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 8
#define ROUNDS  200
#define UUID    "c7a5fdbd-edaf-9455-926a-d65c16db1809"

static const char *kernel;

static struct lodge_connection *open_one(unsigned flags)
{
	struct lodge_connection *c = lodge_connection_open(NULL, flags);

	if (!c)
		g_error("no connection: %s", lodge_last_error()->message);
	return c;
}

static void assert_error(int code, const char *function, const char *part)
{
	const struct lodge_error *e = lodge_last_error();

	g_assert_cmpint(e->code, ==, code);
	g_assert_cmpstr(e->function, ==, function);
	if (!strstr(e->message, part))
		g_error("'%s' is not in '%s'", part, e->message);
}

static char *definition(const char *name, const char *uuid)
{
	return g_strdup_printf(
		"<domain type='qemu'><name>%s</name>%s<memory unit='MiB'>16</memory>"
		"<os><type arch='x86_64' machine='q35'>hvm</type><kernel>%s</kernel></os>"
		"<features><acpi/></features><devices><memballoon model='none'/>"
		"</devices></domain>",
		name, uuid, kernel);
}

static struct lodge_domain *define(struct lodge_connection *c, const char *name)
{
	g_autofree char *xml = definition(name, "");
	struct lodge_domain *domain = lodge_domain_define(c, xml, 0);

	if (!domain)
		g_error("%s", lodge_last_error()->message);
	return domain;
}

static void test_connection(void)
{
	struct lodge_connection *c = open_one(0);
	char *uri = lodge_connection_uri(c, 0), *host = lodge_connection_hostname(c, 0);
	char *capabilities = lodge_connection_capabilities(c, 0);
	char *of_guests = lodge_connection_domain_capabilities(c, 0);
	uint64_t interface, hypervisor;
	struct lodge_node node;

	g_assert_cmpstr(uri, ==, "qemu:///system");
	g_assert_cmpstr(host, ==, g_get_host_name());
	g_assert_nonnull(strstr(capabilities, "<capabilities>"));
	g_assert_nonnull(strstr(of_guests, "<domainCapabilities>"));
	g_assert_cmpint(lodge_connection_versions(c, &interface, &hypervisor, 0), ==, 0);
	g_assert_cmpuint(interface, >=, 1000000);
	g_assert_cmpuint(hypervisor, >, 0);
	g_assert_cmpint(lodge_connection_node(c, &node, 0), ==, 0);
	g_assert_cmpstr(node.model, ==, "x86_64");
	g_assert_cmpint(node.cpus, >=, 1);
	g_assert_cmpuint(node.memory_kib, >, 65536);
	g_assert_false(lodge_connection_is_lost(c));
	g_assert_null(lodge_connection_uri(c, 1));
	assert_error(LODGE_ERR_INVALID_ARG, "lodge_connection_uri", "unknown flags 0x1");
	free(uri);
	free(host);
	free(capabilities);
	free(of_guests);
	lodge_connection_free(c);
	lodge_connection_free(NULL);
}

/* What can be found and what is defined stays after the connection's own handle has gone. */
static void test_definitions(void)
{
	struct lodge_connection *c = open_one(0);
	g_autofree char *xml = definition("defined", "<uuid>" UUID "</uuid>");
	struct lodge_domain *domain = lodge_domain_define(c, xml, 0), *same, **all;
	char uuid[LODGE_UUID_CHARS], *back;

	g_assert_nonnull(domain);
	lodge_domain_uuid(domain, uuid);
	g_assert_cmpstr(uuid, ==, UUID);
	g_assert_cmpstr(lodge_domain_name(domain), ==, "defined");
	g_assert_cmpint(lodge_domain_id(domain), ==, -1);
	g_assert_cmpint(lodge_domain_is_active(domain), ==, 0);
	g_assert_cmpint(lodge_domain_is_persistent(domain), ==, 1);
	g_assert_cmpint(lodge_domain_autostart(domain), ==, 0);
	g_assert_cmpint(lodge_domain_set_autostart(domain, 1, 0), ==, 0);
	g_assert_cmpint(lodge_domain_autostart(domain), ==, 1);
	all = lodge_domain_list(c, LODGE_DOMAINS_AUTOSTART);
	g_assert_cmpstr(lodge_domain_name(all[0]), ==, "defined");
	g_assert_null(all[1]);
	lodge_domains_free(all);
	all = lodge_domain_list(c, LODGE_DOMAINS_ACTIVE);
	g_assert_null(all[0]);
	lodge_domains_free(all);
	same = lodge_domain_find(c, UUID, 0);
	g_assert_cmpstr(lodge_domain_name(same), ==, "defined");
	lodge_domain_free(same);
	same = lodge_domain_find(c, "defined", 0);
	lodge_connection_free(c);
	back = lodge_domain_xml(same, LODGE_XML_INACTIVE);
	g_assert_nonnull(strstr(back, "<name>defined</name>"));
	free(back);
	lodge_domain_free(same);
	g_assert_cmpint(lodge_domain_undefine(domain, 0), ==, 0);
	g_assert_cmpint(lodge_domain_state(domain, NULL, 0), ==, -1);
	assert_error(LODGE_ERR_NO_DOMAIN, "lodge_domain_state", "defined");
	lodge_domain_free(domain);
}

static void test_errors(void)
{
	struct lodge_connection *c = open_one(0), *r = open_one(LODGE_OPEN_READ_ONLY);
	g_autofree char *xml = definition("refused", "");

	g_assert_null(lodge_domain_by_name(c, "nobody", 0));
	assert_error(LODGE_ERR_NO_DOMAIN, "lodge_domain_by_name", "nobody");
	g_assert_null(lodge_last_error()->hint);
	g_assert_null(lodge_domain_define(c, "<domain>", 0));
	g_assert_cmpstr(lodge_last_error()->function, ==, "lodge_domain_define");
	g_assert_null(lodge_domain_define(r, xml, 0));
	assert_error(LODGE_ERR_OPERATION_DENIED, "lodge_domain_define", "read only");
	g_assert_nonnull(strstr(lodge_last_error()->hint, "LODGE_OPEN_READ_ONLY"));
	g_assert_null(lodge_connection_open("xen:///", 0));
	assert_error(LODGE_ERR_NO_CONNECT, "lodge_connection_open", "xen:///");
	g_assert_null(lodge_connection_open("/nowhere/sock", 0));
	assert_error(LODGE_ERR_NO_CONNECT, "lodge_connection_open", "/nowhere/sock");
	g_assert_nonnull(strstr(lodge_last_error()->hint, "lodged"));
	g_assert_null(lodge_connection_open(NULL, 64));
	assert_error(LODGE_ERR_INVALID_ARG, "lodge_connection_open", "0x40");
	lodge_connection_free(c);
	lodge_connection_free(r);
}

static gpointer no_error_yet(gpointer unused)
{
	return GINT_TO_POINTER(lodge_last_error()->code);
}

static void test_error_of_thread(void)
{
	g_assert_null(lodge_connection_open("xen:///", 0));
	g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(g_thread_new("other", no_error_yet, NULL))),
			==, LODGE_ERR_OK);
	g_assert_cmpint(lodge_last_error()->code, ==, LODGE_ERR_NO_CONNECT);
}

/* Each thread defines, finds and undefines domains of its own, all through one connection. */
static gpointer work(gpointer opaque)
{
	struct lodge_connection *c = opaque;

	for (unsigned i = 0; i < ROUNDS / THREADS; i++) {
		g_autofree char *name = g_strdup_printf("of-%p-%u", (void *)g_thread_self(), i);
		g_autofree char *nobody = g_strdup_printf("not-%s", name);
		struct lodge_domain *domain = define(c, name), *same;

		same = lodge_domain_by_name(c, name, 0);
		g_assert_cmpstr(lodge_domain_name(same), ==, name);
		g_assert_cmpint(lodge_domain_state(same, NULL, 0), ==, LODGE_DOMAIN_SHUTOFF);
		g_assert_null(lodge_domain_by_name(c, nobody, 0));
		assert_error(LODGE_ERR_NO_DOMAIN, "lodge_domain_by_name", nobody);
		g_assert_cmpint(lodge_domain_undefine(domain, 0), ==, 0);
		lodge_domain_free(domain);
		lodge_domain_free(same);
	}
	return NULL;
}

static void test_threads(void)
{
	struct lodge_connection *c = open_one(0);
	struct lodge_domain **left;
	GThread *threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		threads[i] = g_thread_new("work", work, c);
	for (unsigned i = 0; i < THREADS; i++)
		g_thread_join(threads[i]);
	left = lodge_domain_list(c, 0);
	g_assert_null(left[0]);
	lodge_domains_free(left);
	lodge_connection_free(c);
}

/* --- a guest's life, and the events of it --- */

struct seen {
	GString *kinds;
	int other;
};

static void on_event(struct lodge_domain *domain, enum lodge_domain_event_kind kind, int detail,
		     void *opaque)
{
	struct seen *seen = opaque;

	if (strcmp(lodge_domain_name(domain), "lives"))
		seen->other++;
	else
		g_string_append_c(seen->kinds, "dusprohvc"[kind]);
	g_assert_cmpint(lodge_domain_is_active(domain), >=, -1); /* calls may be made here */
}

/* Until the events seen end with those. */
static void wait_for(struct lodge_connection *c, struct seen *seen, const char *end)
{
	struct pollfd input = { lodge_connection_fd(c), POLLIN, 0 };

	while (!g_str_has_suffix(seen->kinds->str, end)) {
		if (poll(&input, 1, 60000) <= 0)
			g_error("events '%s', and never '%s'", seen->kinds->str, end);
		g_assert_cmpint(lodge_connection_dispatch(c), >=, 0);
	}
}

static void test_life(void)
{
	struct lodge_connection *c = open_one(0), *watcher = open_one(LODGE_OPEN_READ_ONLY);
	struct seen seen = { g_string_new("") }, one = { g_string_new("") };
	struct lodge_domain *domain, *other;
	struct lodge_domain_info info;
	int all = lodge_domain_watch(watcher, NULL, on_event, &seen, 0), only, reason;

	g_assert_cmpint(all, >=, 0);
	domain = define(c, "lives");
	other = define(c, "another");
	only = lodge_domain_watch(watcher, domain, on_event, &one, 0);
	g_assert_cmpint(only, >=, 0);
	g_assert_cmpint(lodge_domain_start(domain, LODGE_START_PAUSED), ==, 0);
	g_assert_cmpint(lodge_domain_state(domain, &reason, 0), ==, LODGE_DOMAIN_PAUSED);
	g_assert_cmpint(lodge_domain_resume(domain, 0), ==, 0);
	g_assert_cmpint(lodge_domain_info(domain, &info, 0), ==, 0);
	g_assert_cmpint(info.state, ==, LODGE_DOMAIN_RUNNING);
	g_assert_cmpuint(info.max_memory_kib, ==, 16 * 1024);
	g_assert_cmpuint(info.vcpus, ==, 1);
	g_assert_cmpint(lodge_domain_start(domain, 0), ==, -1);
	assert_error(LODGE_ERR_OPERATION_INVALID, "lodge_domain_start", "running");
	g_assert_cmpint(lodge_domain_suspend(domain, 0), ==, 0);
	g_assert_cmpint(lodge_domain_resume(domain, 0), ==, 0);
	g_assert_cmpint(lodge_domain_reset(domain, 0), ==, 0);
	g_assert_cmpint(lodge_domain_destroy(domain, 0), ==, 0);
	wait_for(watcher, &seen, "o");
	g_assert_cmpint(lodge_domain_state(domain, &reason, 0), ==, LODGE_DOMAIN_SHUTOFF);
	g_assert_cmpint(lodge_domain_undefine(domain, 0), ==, 0);
	wait_for(watcher, &seen, "u");
	g_assert_cmpint(lodge_domain_undefine(other, 0), ==, 0);
	g_test_message("events: %s", seen.kinds->str);
	g_assert_true(g_str_has_prefix(seen.kinds->str, "ds"));
	g_assert_cmpstr(one.kinds->str, ==,
			seen.kinds->str + 1); /* it began after the definition */
	g_assert_cmpint(seen.other, >=, 1);
	g_assert_cmpint(one.other, ==, 0);
	g_assert_cmpint(lodge_unwatch(watcher, only), ==, 0);
	g_assert_cmpint(lodge_unwatch(watcher, only), ==, -1);
	g_assert_cmpint(lodge_unwatch(watcher, all), ==, 0);
	lodge_domain_free(domain);
	lodge_domain_free(other);
	lodge_connection_free(c);
	lodge_connection_free(watcher);
	g_string_free(seen.kinds, TRUE);
	g_string_free(one.kinds, TRUE);
}

/* --- networks and storage --- */

static void test_network(void)
{
	static const char xml[] = "<network><name>lan</name><forward mode='nat'/>"
				  "<bridge name='br7'/></network>";
	struct lodge_connection *c = open_one(0);
	struct lodge_network **all = lodge_network_list(c, LODGE_NETWORKS_ACTIVE), *lan;
	char uuid[LODGE_UUID_CHARS], *back;

	g_assert_cmpstr(lodge_network_name(all[0]), ==, "default");
	g_assert_null(all[1]);
	g_assert_cmpint(lodge_network_is_active(all[0]), ==, 1);
	g_assert_cmpint(lodge_network_stop(all[0], 0), ==, -1);
	assert_error(LODGE_ERR_OPERATION_INVALID, "lodge_network_stop", "default");
	lodge_networks_free(all);
	lan = lodge_network_define(c, xml, 0);
	g_assert_nonnull(lan);
	lodge_network_uuid(lan, uuid);
	g_assert_true(g_uuid_string_is_valid(uuid));
	g_assert_cmpint(lodge_network_is_active(lan), ==, 0);
	g_assert_cmpint(lodge_network_set_autostart(lan, 1, 0), ==, 0);
	g_assert_cmpint(lodge_network_autostart(lan), ==, 1);
	g_assert_cmpint(lodge_network_start(lan, 0), ==, -1); /* not in this version */
	back = lodge_network_xml(lan, 0);
	g_assert_nonnull(strstr(back, "br7"));
	free(back);
	g_assert_cmpint(lodge_network_undefine(lan, 0), ==, 0);
	lodge_network_free(lan);
	g_assert_null(lodge_network_by_name(c, "lan", 0));
	assert_error(LODGE_ERR_NO_NETWORK, "lodge_network_by_name", "lan");
	lodge_connection_free(c);
}

/* Up and down again while another thread asks; one that is given up leaves the connection as it
 * was. */
static void test_streams(struct lodge_connection *c, struct lodge_volume *volume)
{
	g_autofree char *out = g_malloc(1048576), *in = g_malloc0(1048576);
	struct lodge_stream *up = lodge_volume_upload(volume, 0, 1048576, 0), *down;
	GThread *other = g_thread_new("work", work, c);
	ssize_t n, got = 0;

	for (unsigned i = 0; i < 1048576; i++)
		out[i] = i * 7 + (i >> 10);
	g_assert_nonnull(up);
	g_assert_cmpint(lodge_stream_send(up, out, 1000000), ==, 0);
	g_assert_cmpint(lodge_stream_send(up, out + 1000000, 48576), ==, 0);
	g_assert_cmpint(lodge_stream_finish(up), ==, 0);
	lodge_stream_free(up);
	down = lodge_volume_download(volume, 0, 0, 0);
	g_assert_nonnull(down);
	while ((n = lodge_stream_receive(down, in + got, 1048576 - got, 0)) > 0)
		got += n;
	g_assert_cmpint(n, ==, 0);
	g_assert_cmpint(got, ==, 1048576);
	g_assert_cmpmem(in, got, out, got);
	g_assert_cmpint(lodge_stream_finish(down), ==, 0);
	lodge_stream_free(down);
	down = lodge_volume_download(volume, 0, 0, 0);
	g_assert_cmpint(lodge_stream_receive(down, in, 1, 0), ==, 1);
	lodge_stream_free(down);
	g_thread_join(other);
}

static void test_storage(void)
{
	struct lodge_connection *c = open_one(0);
	g_autofree char *folder = g_dir_make_tmp("lodge-pool-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "pool", NULL);
	g_autofree char *xml =
		g_strdup_printf("<pool type='dir'><name>p</name><target><path>%s</path>"
				"</target></pool>",
				path);
	struct lodge_pool *pool = lodge_pool_define(c, xml, 0), **pools;
	struct lodge_volume *volume, *same, **volumes;
	struct lodge_volume_info volume_info;
	struct lodge_pool_info info;
	char uuid[LODGE_UUID_CHARS], *text;

	g_assert_nonnull(pool);
	lodge_pool_uuid(pool, uuid);
	g_assert_true(g_uuid_string_is_valid(uuid));
	g_assert_cmpint(lodge_pool_build(pool, 0), ==, 0);
	g_assert_cmpint(lodge_pool_start(pool, 0), ==, 0);
	g_assert_cmpint(lodge_pool_is_active(pool), ==, 1);
	pools = lodge_pool_list(c, LODGE_POOLS_ACTIVE);
	g_assert_cmpstr(lodge_pool_name(pools[0]), ==, "p");
	lodge_pools_free(pools);
	volume = lodge_volume_create(
		pool, "<volume><name>v.img</name><capacity>1048576</capacity></volume>", 0);
	g_assert_nonnull(volume);
	text = lodge_volume_path(volume, 0);
	g_assert_true(g_str_has_prefix(text, path) && g_str_has_suffix(text, "/v.img"));
	same = lodge_volume_by_path(c, text, 0);
	g_assert_cmpstr(lodge_volume_name(same), ==, "v.img");
	g_assert_cmpstr(lodge_volume_pool_name(same), ==, "p");
	lodge_volume_free(same);
	free(text);
	g_assert_cmpint(lodge_volume_info(volume, &volume_info, 0), ==, 0);
	g_assert_cmpuint(volume_info.capacity_bytes, ==, 1048576);
	g_assert_cmpint(lodge_pool_info(pool, &info, 0), ==, 0);
	g_assert_cmpuint(info.capacity_bytes, >, 1048576);
	test_streams(c, volume);
	volumes = lodge_volume_list(pool, 0);
	g_assert_cmpstr(lodge_volume_name(volumes[0]), ==, "v.img");
	g_assert_null(volumes[1]);
	lodge_volumes_free(volumes);
	text = lodge_volume_xml(volume, 0);
	g_assert_nonnull(strstr(text, "v.img"));
	free(text);
	g_assert_cmpint(lodge_volume_delete(volume, 0), ==, 0);
	g_assert_null(lodge_volume_download(volume, 0, 0, 0));
	assert_error(LODGE_ERR_NO_STORAGE_VOL, "lodge_volume_download", "v.img");
	lodge_volume_free(volume);
	g_assert_null(lodge_volume_by_name(pool, "v.img", 0));
	assert_error(LODGE_ERR_NO_STORAGE_VOL, "lodge_volume_by_name", "v.img");
	g_assert_cmpint(lodge_pool_refresh(pool, 0), ==, 0);
	text = lodge_pool_xml(pool, 0);
	g_assert_nonnull(strstr(text, path));
	free(text);
	g_assert_cmpint(lodge_pool_set_autostart(pool, 1, 0), ==, 0);
	g_assert_cmpint(lodge_pool_autostart(pool), ==, 1);
	g_assert_cmpint(lodge_pool_stop(pool, 0), ==, 0);
	g_assert_cmpint(lodge_pool_undefine(pool, 0), ==, 0);
	lodge_pool_free(pool);
	g_assert_null(lodge_pool_by_name(c, "p", 0));
	assert_error(LODGE_ERR_NO_STORAGE_POOL, "lodge_pool_by_name", "p");
	lodge_connection_free(c);
	rmdir(path);
	rmdir(folder);
}

/* --- a daemon that goes --- */

static gpointer ask_until_lost(gpointer opaque)
{
	char *name;

	while ((name = lodge_connection_hostname(opaque, 0)))
		free(name);
	assert_error(LODGE_ERR_RPC, "lodge_connection_hostname", "lost");
	g_assert_nonnull(lodge_last_error()->hint);
	return NULL;
}

static int gone(pid_t daemon)
{
	struct lodge_connection *c = open_one(0), *idle = open_one(0);
	struct pollfd input = { lodge_connection_fd(idle), POLLIN, 0 };
	GThread *threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		threads[i] = g_thread_new("ask", ask_until_lost, c);
	g_usleep(20000);
	kill(daemon, SIGKILL);
	for (unsigned i = 0; i < THREADS; i++)
		g_thread_join(threads[i]);
	g_assert_true(lodge_connection_is_lost(c));
	g_assert_cmpint(poll(&input, 1, 60000), ==, 1);
	g_assert_cmpint(lodge_connection_dispatch(idle), ==, -1);
	assert_error(LODGE_ERR_RPC, "lodge_connection_dispatch", "lost");
	lodge_connection_free(c);
	lodge_connection_free(idle);
	return 0;
}

/* A call longer than what sockets hold, while the server writes more than they hold. */
static int flood(void)
{
	struct lodge_connection *c = open_one(0);
	g_autofree char *xml = g_strnfill(4000000, 'x');

	g_assert_null(lodge_domain_define(c, xml, 0));
	assert_error(LODGE_ERR_XML_ERROR, "lodge_domain_define", "drained");
	lodge_connection_free(c);
	return 0;
}

static int refused(const char *part)
{
	g_assert_null(lodge_connection_open(NULL, 0));
	assert_error(lodge_last_error()->code, "lodge_connection_open", part);
	g_assert_cmpint(lodge_last_error()->code, !=, LODGE_ERR_OK);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "gone"))
		return gone(atoi(argv[2]));
	if (argc == 2 && !strcmp(argv[1], "flood"))
		return flood();
	if (argc == 3 && !strcmp(argv[1], "refused"))
		return refused(argv[2]);
	if (argc != 3 || strcmp(argv[1], "all"))
		return 2;
	kernel = argv[2];
	argc = 1;
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/lib/connection", test_connection);
	g_test_add_func("/lib/definitions", test_definitions);
	g_test_add_func("/lib/errors", test_errors);
	g_test_add_func("/lib/error-of-thread", test_error_of_thread);
	g_test_add_func("/lib/threads", test_threads);
	g_test_add_func("/lib/life", test_life);
	g_test_add_func("/lib/network", test_network);
	g_test_add_func("/lib/storage", test_storage);
	return g_test_run();
}
