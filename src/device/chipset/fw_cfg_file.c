/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One file in fw_cfg, from the plan. It does nothing by itself; being a device gives it a name in
 * the plan and its options the checks that all options have.
 */
#include "device/chipset/fw_cfg.h"
#include "machine/vm.h"
#include "state/state.h"

#include <errno.h>
#include <string.h>

#define BASE64_MAX (FW_CFG_FILE_BYTES / 3 * 4 + 4)

struct fw_cfg_file {
	struct device dev;
	char *name, *data;
};

static int file_realize(struct device *dev, GError **error)
{
	struct fw_cfg_file *f = container_of(dev, struct fw_cfg_file, dev);
	gsize bytes = 0;
	guchar *content = g_base64_decode(f->data, &bytes);
	char *again = g_base64_encode(content, bytes);
	bool good = !strcmp(again, f->data) && *f->name;

	g_free(again);
	if (!good) {
		g_free(content);
		g_set_error(error, VM_ERROR, EINVAL, "%s",
			    *f->name ? "its data is not base64" : "its name is empty");
		return -EINVAL;
	}
	return fw_cfg_add_file(dev->vm, f->name, g_bytes_new_take(content, bytes), error);
}

static void file_reset(struct device *dev)
{
}

static const struct state_field file_state[] = { STATE_END };

static const struct device_option file_options[] = {
	{ .name = "name",
	  .kind = OPTION_STRING,
	  .offset = offsetof(struct fw_cfg_file, name),
	  .required = true,
	  .max = FW_CFG_NAME_MAX,
	  .help = "by which the guest finds it, as opt/com.example/key" },
	{ .name = "data",
	  .kind = OPTION_STRING,
	  .offset = offsetof(struct fw_cfg_file, data),
	  .required = true,
	  .max = BASE64_MAX,
	  .help = "its content in base64, 1 MiB at most" },
	{ .name = NULL },
};

const struct device_type device_fw_cfg_file = {
	.name = "fw-cfg-file",
	.help = "a file for firmware and kernel",
	.bytes = sizeof(struct fw_cfg_file),
	.options = file_options,
	.state = file_state,
	.realize = file_realize,
	.reset = file_reset,
};
