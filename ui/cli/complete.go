package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/backend"
	"berth/model"
	"berth/model/config"
)

var shells = []string{"bash", "zsh", "fish"}

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a shell's completion script",
		Long: "Print the completion script of a shell, which completes VM names, themes and\n" +
			"columns too.\n\n" +
			"  bash   berth completion bash > /etc/bash_completion.d/berth\n" +
			"  zsh    berth completion zsh > \"${fpath[1]}/_berth\"\n" +
			"  fish   berth completion fish > ~/.config/fish/completions/berth.fish",
		ValidArgs: shells,
		Args:      withUsage(oneOf("shell", shells)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "zsh":
				return cmd.Root().GenZshCompletion(a.Stdout)
			case "fish":
				return cmd.Root().GenFishCompletion(a.Stdout, true)
			}
			return cmd.Root().GenBashCompletionV2(a.Stdout, true)
		},
	}
}

type completer = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective)

const noFiles = cobra.ShellCompDirectiveNoFileComp

func fixed(words ...string) completer {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) { return words, noFiles }
}

// completeFlag attaches a completer; a flag that does not exist would be a
// mistake in this package, which cobra reports when the flag is first used.
func completeFlag(cmd *cobra.Command, flag string, c completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, c); err != nil {
		panic(err) // a misspelt flag name, found by any test that builds the command
	}
}

func (a *app) completeGlobalFlags(root *cobra.Command) {
	completeFlag(root, "color", fixed("auto", "never", "16", "256", "true"))
	completeFlag(root, "refresh", fixed("200ms", "500ms", "1s", "2s", "5s"))
	completeFlag(root, "connect", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"qemu:///system", "qemu:///session", "qemu+ssh://", "qemu+tcp://", "qemu+tls://", "test:///default"}, noFiles | cobra.ShellCompDirectiveNoSpace
	})
	completeFlag(root, "theme", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		if a.Themes == nil {
			return nil, noFiles
		}
		return a.Themes(config.NewPaths(a.Env, a.UID).ThemesDir), noFiles
	})
	for _, flag := range []string{"demo-seed", "demo-hosts", "demo-vms"} {
		completeFlag(root, flag, fixed())
	}
}

func (a *app) completeListFlags(cmd *cobra.Command) {
	completeFlag(cmd, "output", fixed(listFormats...))
	completeFlag(cmd, "sort", fixed(model.ColumnIDs()...))
	completeFlag(cmd, "columns", completeColumns)
	completeFlag(cmd, "filter", completeFilter)
	cmd.ValidArgsFunction = fixed()
}

// completeColumns completes the last of a list joined by commas.
func completeColumns(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	taken := strings.Split(before, ",")
	var out []string
	for _, id := range model.ColumnIDs() {
		if !slices.Contains(taken, id) {
			out = append(out, before+id)
		}
	}
	return out, noFiles | cobra.ShellCompDirectiveNoSpace
}

// completeFilter completes the last term's key, or its value where the values
// are few.
func completeFilter(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	at := strings.LastIndexByte(typed, ' ') + 1
	if at < len(typed) && typed[at] == '!' {
		at++
	}
	var out []string
	for _, k := range model.FilterKeys() {
		if len(k.Values) == 0 {
			out = append(out, typed[:at]+k.Name)
		}
		for _, v := range k.Values {
			out = append(out, typed[:at]+k.Name+":"+v)
		}
	}
	return out, noFiles | cobra.ShellCompDirectiveNoSpace
}

func (a *app) completeShow(cmd *cobra.Command) {
	completeFlag(cmd, "output", fixed(showFormats...))
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, noFiles
		}
		return a.completeNames(cmd, nil, func(*model.Row) bool { return true })
	}
}

// completeVerb offers the VMs on which the verb makes sense now.
func (a *app) completeVerb(cmd *cobra.Command, s verbSpec) {
	completeFlag(cmd, "filter", completeFilter)
	completeFlag(cmd, "timeout", fixed("10s", "1m", "5m"))
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.completeNames(cmd, args, func(r *model.Row) bool { return s.verb.Check(&r.VM) == nil })
	}
}

// completionDeadline is how long a person at a prompt is kept waiting.
const completionDeadline = 2 * time.Second

func (a *app) completeNames(cmd *cobra.Command, taken []string, want func(*model.Row) bool) ([]string, cobra.ShellCompDirective) {
	if err := a.load(cmd); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(contextOrBackground(cmd), completionDeadline)
	defer cancel()
	f, err := a.openFleet(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	inv := takeInventory(ctx, f, depthState)
	out := completions(inv.matching(want), inv.rows, taken)
	if err := f.close(); err != nil {
		cobra.CompDebugln(err.Error(), false)
	}
	return out, noFiles
}

// completions names rows, with the host where another VM is called the same.
// What follows the tab is shown beside it.
func completions(rows, all []*model.Row, taken []string) []string {
	count := map[string]int{}
	for _, r := range all {
		count[r.Name]++
	}
	var out []string
	for _, r := range rows {
		name := backend.Clean(r.Name)
		if count[r.Name] > 1 {
			name = backend.Clean(r.Host) + "/" + name
		}
		if !slices.Contains(taken, name) {
			out = append(out, name+"\t"+model.StateText(r)+" on "+backend.Clean(r.Host))
		}
	}
	return out
}
