"use strict";
const root = document.documentElement;
root.classList.add("js");
document.getElementById("all").addEventListener("change", (e) => root.classList.toggle("everything", e.target.checked));
