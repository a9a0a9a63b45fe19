/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Another host's daemon through ssh: its standard streams are our socket. There, `lodge bridge`
 * carries the bytes to the daemon's own socket, or what hosts of libvirt have for that. Passwords
 * and the host's key are ssh's affair, who asks the terminal.
 */
#include "private.h"
#include "reach.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the other host's shell is to run; the caller frees it. */
static char *remote_command(const struct ssh_target *target)
{
	g_autofree char *socket =
		target->socket ? g_uri_escape_string(target->socket, "/", FALSE) : NULL;
	g_autofree char *uri =
		socket ? g_strdup_printf("lodge+unix:///system?socket=%s", socket)
		       : g_strdup(target->session ? "qemu:///session" : "qemu:///system");
	g_autofree char *quoted = g_shell_quote(uri);
	g_autofree char *netcat =
		target->socket ? g_shell_quote(target->socket) : g_strdup(REACH_SYSTEM_SOCKET);
	GString *script = g_string_new(NULL);
	g_autofree char *text = NULL, *script_quoted = NULL;

	g_string_append_printf(script,
			       "if command -v lodge >/dev/null 2>&1; then exec lodge bridge %s%s; ",
			       target->read_only ? "--read-only " : "", quoted);
	if (!target->socket)
		g_string_append_printf(script,
				       "elif command -v virt-ssh-helper >/dev/null 2>&1; then exec "
				       "virt-ssh-helper %s%s; ",
				       target->read_only ? "-r " : "", quoted);
	if (!target->session || target->socket)
		g_string_append_printf(
			script, "elif command -v nc >/dev/null 2>&1; then exec nc -U %s; ", netcat);
	g_string_append(script, "else echo 'there is no lodge on this host' >&2; exit 127; fi");
	text = g_string_free(script, FALSE);
	script_quoted = g_shell_quote(text);
	return g_strdup_printf("sh -c %s", script_quoted);
}

static GPtrArray *arguments(const struct ssh_target *target)
{
	GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);

	g_ptr_array_add(argv, g_strdup(target->program ? target->program : "ssh"));
	g_ptr_array_add(argv, g_strdup("-T")); /* no terminal there */
	g_ptr_array_add(argv, g_strdup("-enone"));
	if (target->port)
		g_ptr_array_add(argv, g_strdup_printf("-p%s", target->port));
	if (target->user)
		g_ptr_array_add(argv, g_strdup_printf("-l%s", target->user));
	if (target->key)
		g_ptr_array_add(argv, g_strdup_printf("-i%s", target->key));
	if (target->no_tty)
		g_ptr_array_add(argv, g_strdup("-oBatchMode=yes"));
	g_ptr_array_add(argv, g_strdup("--"));
	g_ptr_array_add(argv, g_strdup(target->host));
	g_ptr_array_add(argv, remote_command(target));
	g_ptr_array_add(argv, NULL);
	return argv;
}

int ssh_connect(const struct ssh_target *target, const char *function)
{
	g_autoptr(GPtrArray) argv = arguments(target);
	g_autoptr(GError) error = NULL;
	int ends[2], out;
	bool good;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
		error_set(function, LODGE_ERR_NO_CONNECT, NULL, "cannot make a socket");
		return -1;
	}
	out = dup(ends[1]);
	good = out >= 0 &&
	       g_spawn_async_with_fds(NULL, (char **)argv->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL,
				      NULL, NULL, ends[1], out, -1, &error);
	if (out >= 0)
		close(out);
	close(ends[1]);
	if (good)
		return ends[0];
	close(ends[0]);
	error_set(function, LODGE_ERR_NO_CONNECT, "install ssh (apt install openssh-client)",
		  "cannot start ssh: %s", error ? error->message : "no descriptors are left");
	return -1;
}
