// A link's page signs in by itself; a GET alone, as previews of links make it, uses nothing up.
"use strict";
document.getElementById("enter").submit();
