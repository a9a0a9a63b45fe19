# SPDX-License-Identifier: GPL-2.0-or-later
# Completion of lodge-img for fish.
set -l first 'test (count (commandline -opc)) -eq 1'
set -l info '__fish_seen_subcommand_from info'
complete -c lodge-img -f
complete -c lodge-img -n $first -a info -d 'say what disk images are'
complete -c lodge-img -n $first -l version
complete -c lodge-img -l help
complete -c lodge-img -n $info -l json -d 'for programs'
complete -c lodge-img -n $info -l fd -x -d 'an open descriptor'
complete -c lodge-img -n $info -F
