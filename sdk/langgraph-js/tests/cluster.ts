export { Cluster } from "../../typescript/tests/cluster/cluster.js"
