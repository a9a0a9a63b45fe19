/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * User networks: each interface gets a lodge-net of its own, joined by a pair of sockets that
 * carries one Ethernet frame a message. lodge-net holds its end of the pair and nothing else, and
 * ends when the guest's end closes.
 */
#include "launch/private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET_BYTES (1 << 20) /* frames under way, each direction; the kernel may give less */

static bool open_net(struct launch *launch, const struct domain_interface *interface,
		     GError **error)
{
	struct launch_private *p = launch->private;
	struct opened_net *net = g_new0(struct opened_net, 1);
	const int bytes = SOCKET_BYTES;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_OPEN,
			    "%s:%u: <interface>: cannot make a socket pair: %s", p->domain->file,
			    interface->line, g_strerror(errno));
		g_free(net);
		return false;
	}
	for (unsigned i = 0; i < 2; i++)
		setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	net->interface = interface;
	net->number = fd_map_add(&p->map, ends[0]);
	net->helper_fd = ends[1];
	net->forwards = g_ptr_array_new_with_free_func(g_free);
	for (unsigned i = 0; i < interface->forwards->len; i++) {
		const struct domain_forward *f = interface->forwards->pdata[i];

		g_ptr_array_add(net->forwards,
				g_strdup_printf("%s,%s,%u-%u,%u", f->udp ? "udp" : "tcp",
						f->address ? f->address : "", f->first, f->last,
						f->to));
	}
	g_ptr_array_add(p->nets, net);
	return true;
}

bool nets_open(struct launch *launch, GError **error)
{
	const struct domain *domain = launch->private->domain;

	for (unsigned i = 0; i < domain->interfaces->len; i++)
		if (!open_net(launch, domain->interfaces->pdata[i], error))
			return false;
	return true;
}

static char **helper_arguments(const struct opened_net *net, const char *path)
{
	GPtrArray *argv = g_ptr_array_new();

	g_ptr_array_add(argv, g_strdup(path));
	g_ptr_array_add(argv, g_strdup("--fd"));
	g_ptr_array_add(argv, g_strdup(G_STRINGIFY(FIRST_PASSED_FD)));
	for (unsigned i = 0; i < net->forwards->len; i++) {
		g_ptr_array_add(argv, g_strdup("--forward"));
		g_ptr_array_add(argv, g_strdup(net->forwards->pdata[i]));
	}
	g_ptr_array_add(argv, NULL);
	return (char **)g_ptr_array_free(argv, FALSE);
}

/* lodge-net says one line when its ports are bound; what it says instead is the reason. */
static bool wait_until_ready(const struct launch *launch, int fd, GError **error)
{
	char said[16] = "", reason[512] = "";
	ssize_t n;

	do
		n = read(fd, said, sizeof(said) - 1);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return true;
	n = read(launch->messages_fd, reason, sizeof(reason) - 1);
	g_strchomp(reason);
	g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_SPAWN, "the network does not start: %s",
		    n > 0 ? reason : "lodge-net ended without a word");
	return false;
}

static bool start_helper(struct launch *launch, struct opened_net *net, const char *path,
			 GError **error)
{
	const struct launch_private *p = launch->private;
	char **argv = helper_arguments(net, path);
	struct fd_map map;
	int ready[2];
	struct spawn spawn = { .argv = (const char *const *)argv,
			       .map = &map,
			       .in = -1,
			       .err = p->messages_child_fd,
			       .die_with_parent = p->options.die_with_caller };

	fd_map_init(&map);
	fd_map_add(&map, net->helper_fd);
	net->helper_fd = -1;
	if (pipe2(ready, O_CLOEXEC)) {
		g_set_error(error, LAUNCH_ERROR, LAUNCH_ERROR_SPAWN, "cannot make a pipe: %s",
			    g_strerror(errno));
	} else {
		spawn.out = ready[1];
		net->helper = spawn_program(&spawn, error);
		close(ready[1]);
		if (net->helper > 0 && !wait_until_ready(launch, ready[0], error)) {
			waitpid(net->helper, NULL, 0);
			net->helper = 0;
		}
		close(ready[0]);
	}
	fd_map_clear(&map);
	g_strfreev(argv);
	return net->helper > 0;
}

bool nets_start(struct launch *launch, GError **error)
{
	GPtrArray *nets = launch->private->nets;
	char *path;
	bool good = true;

	if (!nets->len)
		return true;
	path = spawn_find("lodge-net", error);
	for (unsigned i = 0; path && good && i < nets->len; i++)
		good = start_helper(launch, nets->pdata[i], path, error);
	good = good && path;
	g_free(path);
	return good;
}

char *launch_helper_ended(struct launch *launch)
{
	GPtrArray *nets = launch->private->nets;

	for (unsigned i = 0; i < nets->len; i++) {
		struct opened_net *net = nets->pdata[i];
		int status;

		if (net->helper <= 0 || waitpid(net->helper, &status, WNOHANG) != net->helper)
			continue;
		net->helper = 0;
		if (WIFSIGNALED(status))
			return g_strdup_printf(
				"lodge-net was killed by signal %d (%s); the guest goes on "
				"without that network",
				WTERMSIG(status), strsignal(WTERMSIG(status)));
		if (WEXITSTATUS(status))
			return g_strdup_printf("lodge-net ended with status %d; the guest goes on "
					       "without that network",
					       WEXITSTATUS(status));
	}
	return NULL;
}
