// Package deploy holds what runs slotferry elsewhere: manifests for Kubernetes,
// units for systemd, rules for Prometheus and a dashboard for Grafana. Its tests
// see that they fit the program.
package deploy
