export { type SaverOptions, StateraftSaver } from "./saver.js"
