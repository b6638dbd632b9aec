// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/klog/v2"

	"github.com/ambient22/ambient22/hack/chart"
	"github.com/ambient22/ambient22/internal/deploy"
)

// clusterFlags say which cluster is meant.
type clusterFlags struct{ kubeconfig, context string }

func (o *clusterFlags) register(f *pflag.FlagSet) {
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG, then ~/.kube/config)")
	f.StringVar(&o.context, "context", "", "context of the kubeconfig (default: its current one)")
}

func (o *clusterFlags) connect(ctx context.Context) (*deploy.Client, error) {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // errors come back, and are printed once
	return deploy.Connect(ctx, o.kubeconfig, o.context)
}

// chartFlags are the values of the chart.
type chartFlags struct {
	files []string
	set   []string
}

func (o *chartFlags) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.files, "values", nil, "YAML file with values of the chart (repeatable; later ones go first)")
	f.StringArrayVar(&o.set, "set", nil, "values of the chart, such as tunnel=vxlan or ztunnel.drainSeconds=60 (repeatable)")
}

// objects renders the chart.
func (o *chartFlags) objects() ([]*unstructured.Unstructured, error) {
	values, err := chart.Values(o.files, append([]string{"createNamespace=true"}, o.set...))
	if err != nil {
		return nil, err
	}
	rendered, err := chart.Render(values)
	if err != nil {
		return nil, err
	}
	objects, err := deploy.Parse(rendered.Manifest)
	if err != nil {
		return nil, fmt.Errorf("reading the rendered chart: %w", err)
	}
	return objects, nil
}

// installFlags are the options of install.
type installFlags struct {
	cluster clusterFlags
	chart   chartFlags
	wait    time.Duration
	dryRun  bool
	force   bool
}

func installCommand(s streams) *cobra.Command {
	var o installFlags
	c := &cobra.Command{
		Use:   "install [--set VALUE] [--values FILE]",
		Short: "Put the data path into a Kubernetes cluster, or change how it is there",
		Long: `Install applies the chart with these values to a cluster and waits until every node carries the data path.
The API server checks all objects before the first is written. Installed again with the same values it changes nothing; with
others it changes what differs, and removes what they have no more. No pod is captured until a namespace asks for it:

  kubectl label namespace NAMESPACE istio.io/dataplane-mode=ambient`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c.Context(), s) },
	}
	o.cluster.register(c.Flags())
	o.chart.register(c.Flags())
	c.Flags().DurationVar(&o.wait, "wait", 2*time.Minute, "how long to wait until every node is ready; 0 is not at all")
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "let the API server check everything, print what would be done, and do nothing")
	c.Flags().BoolVar(&o.force, "force-conflicts", false, "take over fields of our objects that somebody else has set to other values")
	return c
}

func (o *installFlags) run(ctx context.Context, s streams) error {
	if o.wait < 0 {
		return fmt.Errorf("--wait: %v is no time to wait", o.wait)
	}
	objects, err := o.chart.objects()
	if err != nil {
		return err
	}
	client, err := o.cluster.connect(ctx)
	if err != nil {
		return err
	}
	installer := &deploy.Installer{Client: client, Force: o.force}
	plan, err := installer.Plan(ctx, objects)
	if err != nil {
		return fmt.Errorf("nothing was written: %w", err)
	}
	if o.dryRun {
		return printPlan(s, plan)
	}
	if plan.Idle() {
		fmt.Fprintf(s.out, "nothing to change: all %d objects are as they should be\n", len(plan))
	} else if err := installer.Run(ctx, plan); err != nil {
		return fmt.Errorf("%w; what is written stays, and the same command goes on", err)
	} else {
		fmt.Fprintf(s.out, "%d objects created, %d changed, %d removed, %d left as they are\n",
			plan.Count(deploy.Create), plan.Count(deploy.Change), plan.Count(deploy.Remove), plan.Count(deploy.Keep))
	}
	if o.wait == 0 {
		return nil
	}
	if err := installer.Wait(ctx, plan, o.wait, s.out); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "every node carries the data path")
	return nil
}

// printPlan lists what would be done.
func printPlan(s streams, plan deploy.Plan) error {
	for _, step := range plan {
		if step.Action != deploy.Keep {
			fmt.Fprintf(s.out, "%s %s\n", step.Action, deploy.Title(step.Object))
		}
	}
	_, err := fmt.Fprintln(s.out, plan)
	return err
}
