/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monitor's thread, its clients and its commands. See monitor.h.
 */
#include "vmm/monitor.h"

#include "base/keycodes.h"
#include "base/thread.h"
#include "machine/engine.h"
#include "machine/vm.h"
#include "vmm/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STOP_WAIT_MS     5000
#define KEYS_HOLD_MAX_MS 600000

struct client {
	int fd;
	bool ready; /* has negotiated capabilities */
	bool dead;
	GString *in, *out;
};

struct monitor {
	struct vm *vm;
	int listen_fd, wake_fd;
	pthread_t thread;
	pthread_mutex_t lock; /* clients' output and the list, against monitor_event() */
	GPtrArray *clients;
	bool open; /* clients are taken */
	bool quit;
};

/* Commands. A handler returns what goes into "return", or NULL with *@why set. */
struct monitor_command {
	const char *name;
	bool before_ready; /* allowed before qmp_capabilities */
	json_t *(*run)(struct monitor *monitor, struct client *client, json_t *arguments,
		       const char **why);
};

static json_t *version(void)
{
	int major = 0, minor = 0, micro = 0;

	sscanf(LODGE_VERSION, "%d.%d.%d", &major, &minor, &micro);
	return json_pack("{s:{s:i,s:i,s:i},s:s}", "qemu", "major", major, "minor", minor, "micro",
			 micro, "package", "lodge " LODGE_VERSION);
}

static json_t *run_capabilities(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	c->ready = true;
	return json_object();
}

static json_t *run_version(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	return version();
}

static json_t *run_status(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	static const char *const names[] = {
		[VM_CREATED] = "prelaunch",
		[VM_RUNNING] = "running",
		[VM_PAUSED] = "paused",
	};
	enum vm_state state = vm_state_get(m->vm);
	const char *reason = vm_pause_reason(m->vm);
	/* a guest that was just continued runs before the mark that it starved goes */
	const char *name = state == VM_PAUSED && vm_starving(m->vm) ? "io-error"
			   : state == VM_PAUSED && reason           ? reason
								    : names[state];

	return json_pack("{s:s,s:b,s:b}", "status", name, "running", state == VM_RUNNING,
			 "singlestep", 0);
}

static json_t *request_state(struct monitor *m, enum vm_request request, enum vm_state state,
			     const char **why)
{
	vm_request(m->vm, request, 0);
	if (vm_wait_state(m->vm, state, STOP_WAIT_MS))
		return json_object();
	*why = "the guest did not change state in time";
	return NULL;
}

static json_t *run_stop(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	return request_state(m, VM_REQUEST_PAUSE, VM_PAUSED, why);
}

static json_t *run_cont(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	if (vm_needs_reset(m->vm)) {
		*why = "the guest crashed and cannot go on; reset it first";
		return NULL;
	}
	return request_state(m, VM_REQUEST_RESUME, VM_RUNNING, why);
}

static json_t *run_powerdown(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	vm_request(m->vm, VM_REQUEST_POWERDOWN, 0);
	return json_object();
}

/* Not QEMU's: the power button, after which the guest that powers off starts over. */
static json_t *run_reboot(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	vm_request(m->vm, VM_REQUEST_REBOOT, 0);
	return json_object();
}

static json_t *run_reset(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	vm_request(m->vm, VM_REQUEST_RESET, VM_RESET_HOST);
	return json_object();
}

static json_t *run_inject_nmi(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	vm_nmi(m->vm);
	return json_object();
}

static json_t *run_quit(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	vm_request(m->vm, VM_REQUEST_QUIT, 0);
	return json_object();
}

/* A thread that waits for guest memory may hold the balloon's lock; the monitor must not wait. */
static bool usable_balloon(struct monitor *m, const char **why)
{
	*why = !m->vm->balloon.device ? "the guest has no balloon"
	       : vm_starving(m->vm)   ? "the guest waits for memory; continue it first"
				      : NULL;
	return !*why;
}

static json_t *run_balloon(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	json_t *value = json_object_get(args, "value");

	if (!usable_balloon(m, why))
		return NULL;
	if (!json_is_integer(value) || json_integer_value(value) <= 0) {
		*why = "'value' must be a number of bytes";
		return NULL;
	}
	m->vm->balloon.set_target(m->vm, json_integer_value(value));
	return json_object();
}

static json_t *run_query_balloon(struct monitor *m, struct client *c, json_t *args,
				 const char **why)
{
	if (!usable_balloon(m, why))
		return NULL;
	return json_pack("{s:I}", "actual", (json_int_t)m->vm->balloon.get_actual(m->vm));
}

/* Not QEMU's: tells a console's guest how large the terminal is that shows it. */
static json_t *run_console_resize(struct monitor *m, struct client *c, json_t *args,
				  const char **why)
{
	const char *id = json_string_value(json_object_get(args, "id"));
	json_int_t columns = json_integer_value(json_object_get(args, "columns"));
	json_int_t rows = json_integer_value(json_object_get(args, "rows"));
	struct device *dev = id ? vm_find_device(m->vm, id) : NULL;

	*why = !dev || !dev->type->resize ? "'id' must name a console that has a size"
	       : columns < 1 || columns > UINT16_MAX || rows < 1 || rows > UINT16_MAX
		       ? "'columns' and 'rows' must be numbers from 1 to 65535"
	       : vm_starving(m->vm) ? "the guest waits for memory; continue it first"
				    : NULL;
	if (*why)
		return NULL;
	dev->type->resize(dev, columns, rows);
	return json_object();
}

/* The name is a device's id; QEMU's may be that of what it is plugged into, too. */
static json_t *run_set_link(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	const char *name = json_string_value(json_object_get(args, "name"));
	json_t *up = json_object_get(args, "up");
	struct device *dev = name ? vm_find_device(m->vm, name) : NULL;

	*why = !dev || !dev->type->set_link ? "'name' must be the id of a network card"
	       : !json_is_boolean(up)       ? "'up' must be true or false"
	       : vm_starving(m->vm)         ? "the guest waits for memory; continue it first"
					    : NULL;
	if (*why)
		return NULL;
	dev->type->set_link(dev, json_is_true(up));
	return json_object();
}

/* Keys have Linux's numbers. */
static json_t *run_send_key(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	json_t *keys = json_object_get(args, "keys"), *hold = json_object_get(args, "hold-time");
	size_t count = json_array_size(keys);
	u8 codes[VM_KEYS_MAX];

	*why = !m->vm->keyboard.device         ? "the guest has no keyboard"
	       : !count || count > VM_KEYS_MAX ? "'keys' must be a list of 1 to 16 numbers, as "
						 "Linux's input events have them"
	       : hold && (!json_is_integer(hold) || json_integer_value(hold) < 0 ||
			  json_integer_value(hold) > KEYS_HOLD_MAX_MS)
		       ? "'hold-time' must be a number of milliseconds, 600000 at most"
		       : NULL;
	for (size_t i = 0; !*why && i < count; i++) {
		json_int_t code = json_integer_value(json_array_get(keys, i));

		if (code < 1 || code > UINT8_MAX || !keycode_find(KEYCODES_LINUX, code))
			*why = "the keyboard has no key of that number";
		codes[i] = code;
	}
	if (!*why)
		*why = m->vm->keyboard.press(m->vm, codes, count, json_integer_value(hold));
	return *why ? NULL : json_object();
}

static json_t *run_query_cpu_stats(struct monitor *m, struct client *c, json_t *args,
				   const char **why)
{
	json_t *counters = counters_query(m->vm);

	if (!counters)
		*why = "the guest's engine counts nothing";
	return counters;
}

/* Not QEMU's: what runs the guest's processors. */
static json_t *run_query_engine(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	return json_pack("{s:s,s:b}", "name", vm_engine_name(m->vm), "movable",
			 m->vm->other != NULL);
}

static json_t *run_move_engine(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	const char *name = json_string_value(json_object_get(args, "to"));

	*why = !name || (strcmp(name, "kvm") && strcmp(name, "soft")) ? "'to' must be kvm or soft"
	       : !m->vm->other
		       ? "the guest was not made to be moved: start it with --movable, where KVM "
			 "works"
		       : NULL;
	if (*why)
		return NULL;
	if (!strcmp(name, vm_engine_name(m->vm)) || vm_move_asked(m->vm, STOP_WAIT_MS))
		return json_object();
	*why = "the guest stays where it is; its log says why";
	return NULL;
}

static json_t *run_commands(struct monitor *m, struct client *c, json_t *args, const char **why);

static const struct monitor_command commands[] = {
	{ "balloon", false, run_balloon },
	{ "console-resize", false, run_console_resize },
	{ "cont", false, run_cont },
	{ "inject-nmi", false, run_inject_nmi },
	{ "move-engine", false, run_move_engine },
	{ "qmp_capabilities", true, run_capabilities },
	{ "query-balloon", false, run_query_balloon },
	{ "query-commands", false, run_commands },
	{ "query-cpu-stats", false, run_query_cpu_stats },
	{ "query-engine", false, run_query_engine },
	{ "query-status", false, run_status },
	{ "query-version", false, run_version },
	{ "quit", false, run_quit },
	{ "send-key", false, run_send_key },
	{ "set_link", false, run_set_link },
	{ "stop", false, run_stop },
	{ "system_powerdown", false, run_powerdown },
	{ "system_reboot", false, run_reboot },
	{ "system_reset", false, run_reset },
};

static json_t *run_commands(struct monitor *m, struct client *c, json_t *args, const char **why)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
		json_array_append_new(list, json_pack("{s:s}", "name", commands[i].name));
	return list;
}

/* Clients. */

static void wake(struct monitor *m)
{
	const u64 one = 1;

	if (write(m->wake_fd, &one, sizeof(one)) < 0)
		return; /* awake already */
}

static void queue_locked(struct client *c, json_t *message)
{
	char *text = json_dumps(message, JSON_COMPACT);

	if (text && c->out->len + strlen(text) + 2 <= MONITOR_OUTPUT_MAX)
		g_string_append_printf(c->out, "%s\r\n", text);
	else
		c->dead = true;
	free(text);
}

/* Takes over @message. */
static void queue(struct monitor *m, struct client *c, json_t *message)
{
	pthread_mutex_lock(&m->lock);
	queue_locked(c, message);
	pthread_mutex_unlock(&m->lock);
	json_decref(message);
}

static void reply_error(struct monitor *m, struct client *c, const char *class, const char *text,
			json_t *id)
{
	json_t *message = json_pack("{s:{s:s,s:s}}", "error", "class", class, "desc", text);

	if (id)
		json_object_set(message, "id", id);
	queue(m, c, message);
}

static const struct monitor_command *find_command(const char *name)
{
	for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static void run(struct monitor *m, struct client *c, json_t *message)
{
	const char *name = json_string_value(json_object_get(message, "execute"));
	json_t *id = json_object_get(message, "id");
	const struct monitor_command *command = name ? find_command(name) : NULL;
	const char *why = "it failed";
	json_t *result, *reply;

	if (!name) {
		reply_error(m, c, "GenericError",
			    "a command is an object with the member 'execute'", id);
	} else if (!command) {
		reply_error(m, c, "CommandNotFound", "there is no such command", id);
	} else if (!c->ready && !command->before_ready) {
		reply_error(m, c, "CommandNotFound", "the first command must be qmp_capabilities",
			    id);
	} else {
		result = command->run(m, c, json_object_get(message, "arguments"), &why);
		if (!result) {
			reply_error(m, c, "GenericError", why, id);
			return;
		}
		reply = json_pack("{s:o}", "return", result);
		if (id)
			json_object_set(reply, "id", id);
		queue(m, c, reply);
	}
}

/* The length of the first complete JSON object in @text, 0 if it is not complete yet, -1 if what
 * is there cannot become one. */
static ssize_t object_length(const char *text, size_t bytes)
{
	bool string = false, escaped = false;
	unsigned depth = 0;

	for (size_t i = 0; i < bytes; i++) {
		char ch = text[i];

		if (string) {
			if (!escaped && ch == '"')
				string = false;
			escaped = !escaped && ch == '\\';
		} else if (ch == '"') {
			string = true;
		} else if (ch == '{' || ch == '[') {
			depth++;
		} else if (ch == '}' || ch == ']') {
			if (!depth)
				return -1;
			if (--depth == 0)
				return i + 1;
		} else if (!depth && !g_ascii_isspace(ch)) {
			return -1;
		}
	}
	return 0;
}

static void handle_input(struct monitor *m, struct client *c)
{
	ssize_t n;

	while (!c->dead && (n = object_length(c->in->str, c->in->len)) != 0) {
		json_t *message = n > 0 ? json_loadb(c->in->str, n, 0, NULL) : NULL;

		if (n < 0 || !json_is_object(message)) {
			reply_error(m, c, "GenericError", "this is not a JSON object", NULL);
			g_string_truncate(c->in, 0);
			json_decref(message);
			return;
		}
		run(m, c, message);
		json_decref(message);
		g_string_erase(c->in, 0, n);
	}
	if (c->in->len > MONITOR_INPUT_MAX)
		c->dead = true;
}

static void read_client(struct monitor *m, struct client *c)
{
	char buffer[4096];
	ssize_t n = recv(c->fd, buffer, sizeof(buffer), MSG_DONTWAIT);

	if (n > 0) {
		g_string_append_len(c->in, buffer, n);
		handle_input(m, c);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		c->dead = true;
	}
}

static void write_client_locked(struct client *c)
{
	ssize_t n;

	if (!c->out->len)
		return;
	n = send(c->fd, c->out->str, c->out->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		g_string_erase(c->out, 0, n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		c->dead = true;
}

static void free_client(struct client *c)
{
	close(c->fd);
	g_string_free(c->in, TRUE);
	g_string_free(c->out, TRUE);
	g_free(c);
}

static void accept_client(struct monitor *m)
{
	int fd = accept4(m->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct client *c;

	if (fd < 0)
		return;
	if (m->clients->len >= MONITOR_CLIENTS_MAX) {
		close(fd);
		return;
	}
	c = g_new0(struct client, 1);
	c->fd = fd;
	c->in = g_string_new(NULL);
	c->out = g_string_new(NULL);
	pthread_mutex_lock(&m->lock);
	g_ptr_array_add(m->clients, c);
	pthread_mutex_unlock(&m->lock);
	queue(m, c, json_pack("{s:{s:o,s:[]}}", "QMP", "version", version(), "capabilities"));
}

static void flush_and_bury_locked(struct monitor *m)
{
	for (guint i = m->clients->len; i > 0; i--) {
		struct client *c = g_ptr_array_index(m->clients, i - 1);

		write_client_locked(c);
		if (c->dead) {
			g_ptr_array_remove_index(m->clients, i - 1);
			free_client(c);
		}
	}
}

static bool output_waits_locked(struct monitor *m)
{
	for (guint i = 0; i < m->clients->len; i++)
		if (((struct client *)g_ptr_array_index(m->clients, i))->out->len)
			return true;
	return false;
}

static void *monitor_thread(void *arg)
{
	struct monitor *m = arg;
	struct pollfd fds[2 + MONITOR_CLIENTS_MAX];
	bool quit = false;
	u64 count;

	pthread_setname_np(pthread_self(), "monitor");
	while (!quit) {
		guint n;

		pthread_mutex_lock(&m->lock);
		flush_and_bury_locked(m);
		quit = m->quit;
		n = m->clients->len;
		fds[0] = (struct pollfd){ .fd = m->wake_fd, .events = POLLIN };
		fds[1] = (struct pollfd){ .fd = m->open ? m->listen_fd : -1, .events = POLLIN };
		for (guint i = 0; i < n; i++) {
			struct client *c = g_ptr_array_index(m->clients, i);

			fds[2 + i] =
				(struct pollfd){ .fd = c->fd,
						 .events = POLLIN | (c->out->len ? POLLOUT : 0) };
		}
		pthread_mutex_unlock(&m->lock);
		if (quit || poll(fds, 2 + n, -1) < 0)
			continue;
		if (fds[0].revents && read(m->wake_fd, &count, sizeof(count)) < 0)
			count = 0;
		for (guint i = 0; i < n; i++)
			if (fds[2 + i].revents & ~POLLOUT)
				read_client(m, g_ptr_array_index(m->clients, i));
		if (fds[1].revents)
			accept_client(m);
	}
	return NULL;
}

struct monitor *monitor_new(struct vm *vm, int listen_fd, GError **error)
{
	struct monitor *m = g_new0(struct monitor, 1);
	int err;

	m->vm = vm;
	m->listen_fd = listen_fd;
	m->clients = g_ptr_array_new();
	m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&m->lock, NULL);
	err = m->wake_fd < 0 ? errno : thread_start(&m->thread, monitor_thread, m);
	if (!err)
		return m;
	g_set_error(error, VM_ERROR, err, "cannot start the monitor: %s", g_strerror(err));
	if (m->wake_fd >= 0)
		close(m->wake_fd);
	g_ptr_array_free(m->clients, TRUE);
	g_free(m);
	return NULL;
}

void monitor_open(struct monitor *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->open = true;
	pthread_mutex_unlock(&m->lock);
	wake(m);
}

void monitor_event(struct monitor *m, const char *name, json_t *data)
{
	struct timespec now;
	json_t *event;

	if (!m) {
		json_decref(data);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	event = json_pack("{s:s,s:{s:I,s:I}}", "event", name, "timestamp", "seconds",
			  (json_int_t)now.tv_sec, "microseconds", (json_int_t)now.tv_nsec / 1000);
	if (data)
		json_object_set_new(event, "data", data);
	pthread_mutex_lock(&m->lock);
	for (guint i = 0; i < m->clients->len; i++) {
		struct client *c = g_ptr_array_index(m->clients, i);

		if (c->ready)
			queue_locked(c, event);
	}
	pthread_mutex_unlock(&m->lock);
	json_decref(event);
	wake(m);
}

void monitor_free(struct monitor *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->quit = true;
	pthread_mutex_unlock(&m->lock);
	wake(m);
	pthread_join(m->thread, NULL);
	for (int i = 0; i < 100 && output_waits_locked(m); i++) {
		flush_and_bury_locked(m);
		poll(NULL, 0, 10);
	}
	for (guint i = 0; i < m->clients->len; i++)
		free_client(g_ptr_array_index(m->clients, i));
	g_ptr_array_free(m->clients, TRUE);
	close(m->listen_fd);
	close(m->wake_fd);
	pthread_mutex_destroy(&m->lock);
	g_free(m);
}
