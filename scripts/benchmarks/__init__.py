"""Speed and memory of jaxml beside its peers: one table of workloads, one way of measuring, one report."""
